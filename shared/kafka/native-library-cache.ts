// Keeps librdkafka in the cache: takes one that works, else downloads or builds one.
import { existsSync } from "node:fs";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, cachedDirectory, isCached, withFileLock } from "../runtime/cache.ts";
import { FatalError, errorMessage } from "../runtime/errors.ts";
import { Library } from "./ffi/library.ts";
import { purposesOf, whatLibraryLacks } from "./native-library-features.ts";

/** What `prepareLibrary` needs from outside; a test gives its own. */
export interface NativeSetup {
  readonly version: string;
  /** What the library can do, in librdkafka's words, when it is complete. */
  readonly features: readonly string[];
  readonly fileName: string;
  /** Libraries that the package's own installation may have left. */
  readonly installed: readonly string[];
  /** The prefix of the names of cached libraries. It differs for libraries that differ in anything but TLS. */
  readonly cacheName: string;
  /** Whether a library may be downloaded or built; otherwise the cache must hold one. */
  readonly isAllowed: boolean;
  /** Whether a library that is built now would have TLS. */
  readonly offersTls: () => Promise<boolean>;
  /** Saves the library of the package's release as this file. Rejects where it cannot be had. */
  readonly download: (file: string) => Promise<void>;
  /** Makes `fileName` in an empty directory. */
  readonly build: (directory: string, withTls: boolean) => Promise<void>;
  readonly say: (line: string) => void;
}

/**
 * How a cached library came about, best first. A release has everything and a build all but TLS, which it has where
 * it found OpenSSL.
 */
const RELEASE = "release";
const WITH_TLS = "tls";
const WITHOUT_TLS = "plain";
const CHECKSUM_FILE = "sha256";
/** Libraries of other versions are removed only when they are not in use, as by another checkout. */
const UNUSED_AFTER_MS = 30 * 24 * 3600_000;

/**
 * Finds a library that works, or makes one and keeps it.
 * @returns its path
 * @throws FatalError when none works and none can be made
 */
export async function prepareLibrary(setup: NativeSetup): Promise<string> {
  for (const path of setup.installed) {
    if (existsSync(path) && (await faultOf(path, setup)) === "") return path;
  }
  const complete = (await openCached(setup, RELEASE)) ?? (await openCached(setup, WITH_TLS));
  if (complete !== undefined) return markUsed(complete);
  // Checked at each start, so that OpenSSL that is installed later leads to a new library.
  const withTls = setup.isAllowed && (await setup.offersTls());
  const plain = withTls ? undefined : await openCached(setup, WITHOUT_TLS);
  if (plain !== undefined) return markUsed(plain);

  if (!setup.isAllowed) {
    throw new FatalError(
      `there is no librdkafka that works in ${cacheDirectory()}, and AUTO_SETUP=false forbids to download or build ` +
        `one. Start once with AUTO_SETUP=true, or build the image again`,
    );
  }
  const made = (await tryDownload(setup)) ?? (await build(setup, withTls));
  await removeSuperseded(setup, made.directory);
  // What needs the feature reports that it is missing, so this is said once.
  const lack = whatLibraryLacks(made.library, setup.features);
  if (lack !== undefined) setup.say(lack);
  return markUsed(made);
}

/** A cached library that is whole and loads. */
interface CachedLibrary {
  readonly directory: string;
  readonly path: string;
  readonly library: Library;
}

/**
 * Removes the library when it does not work.
 * @returns undefined when there is none that works
 * @throws FatalError when other users could have put it there
 */
async function openCached(setup: NativeSetup, kind: string): Promise<CachedLibrary | undefined> {
  const directory = cachedPath(setup, kind);
  if (!(await isCached(directory))) return undefined;
  const opened = await openVerified(setup, directory);
  if (typeof opened !== "string") return opened;
  setup.say(`this cached librdkafka is not used: ${opened}`);
  if (!setup.isAllowed) return undefined;
  // Under the lock, because another process may have replaced it in the meantime.
  return withFileLock(`${directory}.lock`, async () => {
    const openedAgain = await openVerified(setup, directory);
    if (typeof openedAgain !== "string") return openedAgain;
    await rm(directory, { recursive: true, force: true });
    return undefined;
  });
}

/** @returns undefined where the release cannot be had, or does not work here */
async function tryDownload(setup: NativeSetup): Promise<CachedLibrary | undefined> {
  const { version, fileName, say } = setup;
  try {
    return await add(setup, RELEASE, async (directory) => {
      say(`downloading librdkafka ${version} ...`);
      const file = join(directory, fileName);
      await setup.download(file);
      const fault = await faultOf(file, setup);
      if (fault === "") return;
      await rm(file);
      throw new Error(`it ${fault}`);
    });
  } catch (error) {
    say(`the package's release of librdkafka is not used: ${errorMessage(error)}`);
    return undefined;
  }
}

async function build(setup: NativeSetup, withTls: boolean): Promise<CachedLibrary> {
  return add(setup, withTls ? WITH_TLS : WITHOUT_TLS, (directory) => setup.build(directory, withTls));
}

/** Fills the cached directory of a kind, unless another process just did. @throws FatalError when it is of no use */
async function add(
  setup: NativeSetup,
  kind: string,
  fill: (emptyDirectory: string) => Promise<void>,
): Promise<CachedLibrary> {
  const directory = await cachedDirectory(`${setup.cacheName}-${kind}`, async (empty) => {
    await fill(empty);
    await Bun.write(join(empty, CHECKSUM_FILE), await checksum(join(empty, setup.fileName)));
  });
  const opened = await openVerified(setup, directory);
  if (typeof opened === "string")
    throw new FatalError(`the librdkafka that was just made does not work: ${opened}`);
  return opened;
}

/** Loads a cached library, unless it is damaged. @returns what is wrong with it, in words, if anything is */
async function openVerified(
  { version, fileName }: NativeSetup,
  directory: string,
): Promise<CachedLibrary | string> {
  const path = join(directory, fileName);
  const expected = await readFile(join(directory, CHECKSUM_FILE), "utf8").catch(() => "");
  if (expected === "") return `${path} has no checksum beside it`;
  const found = await checksum(path).catch(() => undefined);
  if (found !== expected) return `${path} is damaged`;
  try {
    const library = new Library(path);
    if (library.version !== version) return `${path} is version ${library.version}, not ${version}`;
    return { directory, path, library };
  } catch (error) {
    return errorMessage(error);
  }
}

async function checksum(path: string): Promise<string> {
  return new Bun.CryptoHasher("sha256").update(await readFile(path)).digest("hex");
}

/**
 * Tries a library from elsewhere in a separate process, because it may end the process that loads it.
 * @returns what is wrong with it, in words; empty when it works and has all features
 */
async function faultOf(path: string, { version, features: wanted }: NativeSetup): Promise<string> {
  const script = `
    const { Library } = await import(${JSON.stringify(join(import.meta.dir, "ffi", "library.ts"))});
    const library = new Library(${JSON.stringify(path)});
    process.stdout.write([library.version, ...library.features()].join());`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: "/",
    stdin: "ignore",
    stdout: "pipe",
    stderr: "ignore",
  });
  const [found, ...features] = (await child.stdout.text()).trim().split(",");
  if ((await child.exited) !== 0) return "does not load";
  if (found !== version) return `is version ${found}, not ${version}`;
  const missing = purposesOf(wanted, new Set(features));
  return missing === "" ? "" : `lacks ${missing}`;
}

/** Removes the library without TLS that `made` replaces, and those that no start has used for a month. */
async function removeSuperseded(setup: NativeSetup, made: string): Promise<void> {
  const parent = cacheDirectory();
  const directories = (await readdir(parent, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory() && entry.name.startsWith("librdkafka-"))
    .map((entry) => join(parent, entry.name));
  for (const directory of directories.filter((each) => each !== made)) {
    const isLesser = directory === cachedPath(setup, WITHOUT_TLS);
    const unusedMs = Date.now() - (await stat(directory)).mtimeMs;
    if (isLesser || unusedMs > UNUSED_AFTER_MS) await rm(directory, { recursive: true, force: true });
  }
}

/** @returns the path of the library */
async function markUsed({ directory, path }: CachedLibrary): Promise<string> {
  const now = new Date();
  // An image may be read-only.
  await utimes(directory, now, now).catch(() => {});
  return path;
}

function cachedPath({ cacheName }: NativeSetup, kind: string): string {
  return join(cacheDirectory(), `${cacheName}-${kind}`);
}
