// The sources inside the package @confluentinc/kafka-javascript in; the path of a librdkafka that works here out.
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cachedDirectory, withFileLock } from "../runtime/cache.ts";
import { FatalError, errorMessage } from "../runtime/errors.ts";
import { Library, loadLibrary, setLibraryPath } from "./ffi/library.ts";
import { buildLibrary, CONFIGURE_FLAGS, installCommands } from "./native-library-build.ts";

/** What `prepare` needs from outside; a test gives its own. */
export interface NativeSetup {
  /** The version of librdkafka that the package stands for. */
  readonly version: string;
  /** Libraries that the package's own installation may have left; taken when one of them works. */
  readonly prebuilt: readonly string[];
  /** A name for the cached library, different for everything that makes a library different. */
  readonly cacheName: string;
  readonly fileName: string;
  /** Makes `fileName` in an empty directory. */
  readonly build: (directory: string) => Promise<void>;
  readonly say: (line: string) => void;
}

/** What librdkafka can do only where it was built with a library of the system, and what that is for. */
const OPTIONAL_FEATURES: readonly { feature: string; gives: string }[] = [
  { feature: "ssl", gives: "TLS and SCRAM" },
  { feature: "gzip", gives: "gzip" },
  { feature: "zstd", gives: "zstd" },
];

const PLATFORMS = new Set(["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"]);
const CHECKSUM_FILE = "sha256";

/**
 * A verified librdkafka: the package's own binary where its installation could download it, else one that is
 * built from the package's sources, once, and kept. The main thread awaits it before its first Kafka client and
 * its first worker thread; after that, `loadLibrary` finds the library in every thread.
 * @param say takes lines for a person: what is being done, what this build cannot do
 * @throws FatalError when there is none for this platform, or what it takes to build one is missing
 */
export async function prepareNativeLibrary(say: (line: string) => void): Promise<Library> {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.has(platform)) {
    throw new FatalError(
      `there is no librdkafka for ${platform}; Linux and macOS on x64 and arm64 have one (on Windows: WSL)`,
    );
  }
  const home = packageHome();
  const version = await packagedVersion(home);
  const fileName = process.platform === "darwin" ? "librdkafka.1.dylib" : "librdkafka.so.1";
  const flags = Bun.hash(CONFIGURE_FLAGS.join(" ")).toString(36).slice(0, 6);
  const path = await prepare({
    version,
    prebuilt: [
      join(home, "build", "Release", "confluent-kafka-javascript.node"),
      join(home, "build", "deps", fileName),
    ],
    cacheName: `librdkafka-${version}-${platform}-${libc()}-${flags}`,
    fileName,
    build: (directory) =>
      buildLibrary({ sources: join(home, "deps", "librdkafka"), directory, fileName, version, say }),
    say,
  });
  setLibraryPath(path);
  return loadLibrary();
}

/** `prepareNativeLibrary`, with everything given. @returns the path */
export async function prepare(setup: NativeSetup): Promise<string> {
  const { version, prebuilt, cacheName, fileName, say } = setup;
  for (const path of prebuilt) {
    if (existsSync(path) && (await probe(path)) === version) return path;
  }
  for (let attempt = 1; ; attempt++) {
    const directory = await cachedDirectory(cacheName, async (empty) => {
      await setup.build(empty);
      await Bun.write(join(empty, CHECKSUM_FILE), await checksum(join(empty, fileName)));
    });
    const path = join(directory, fileName);
    const library = await openVerified(path, version);
    if (typeof library !== "string") {
      describeFeatures(library, path, say);
      return path;
    }
    if (attempt > 1) throw new FatalError(`the librdkafka that was built is of no use: ${library}`);
    say(`building librdkafka again: ${library}`);
    // Another process may have mended it while this one looked.
    await withFileLock(`${directory}.lock`, async () => {
      if (typeof (await openVerified(path, version)) === "string") {
        await rm(directory, { recursive: true, force: true });
      }
    });
  }
}

/** Loads a cached library; a damaged one must not be. @returns what is wrong with it, in words, if anything is */
async function openVerified(path: string, version: string): Promise<Library | string> {
  const expected = await readFile(join(dirname(path), CHECKSUM_FILE), "utf8").catch(() => "");
  if (expected === "") return `${path} has no checksum beside it`;
  const found = await checksum(path).catch(() => undefined);
  if (found !== expected) return `${path} is damaged`;
  try {
    const library = new Library(path);
    return library.version === version ? library : `${path} is version ${library.version}, not ${version}`;
  } catch (error) {
    return errorMessage(error);
  }
}

async function checksum(path: string): Promise<string> {
  return new Bun.CryptoHasher("sha256").update(await readFile(path)).digest("hex");
}

/**
 * Loads a library that is not ours in a process of its own: it may lack functions, or end whoever loads it.
 * @returns its version, undefined when it does not work
 */
async function probe(path: string): Promise<string | undefined> {
  const script = `
    const { dlopen } = require("bun:ffi");
    const { SYMBOLS } = require(${JSON.stringify(join(import.meta.dir, "ffi", "bindings.ts"))});
    process.stdout.write(dlopen(${JSON.stringify(path)}, SYMBOLS).symbols.rd_kafka_version_str());`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: "/",
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const output = await child.stdout.text();
  return (await child.exited) === 0 ? output.trim() : undefined;
}

function describeFeatures(library: Library, path: string, say: (line: string) => void): void {
  const features = library.features();
  const missing = OPTIONAL_FEATURES.filter(({ feature }) => !features.has(feature));
  if (missing.length === 0) return;
  const gives = missing.map((each) => each.gives).join(", ");
  say(
    `this librdkafka was built without ${gives} (records compressed that way cannot be read). To have it: ` +
      `${installCommands().join(" or ")}, then remove ${dirname(path)}`,
  );
}

function packageHome(): string {
  return dirname(Bun.resolveSync("@confluentinc/kafka-javascript/package.json", import.meta.dir));
}

async function packagedVersion(home: string): Promise<string> {
  const description: unknown = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
  if (typeof description === "object" && description !== null && "librdkafka" in description) {
    return String(description.librdkafka);
  }
  throw new FatalError("the package @confluentinc/kafka-javascript does not say its version of librdkafka");
}

/** A library for one C library does not load under the other; a home directory may be shared. */
function libc(): string {
  if (process.platform !== "linux") return "system";
  const architecture = process.arch === "x64" ? "x86_64" : "aarch64";
  return existsSync(`/lib/ld-musl-${architecture}.so.1`) ? "musl" : "glibc";
}
