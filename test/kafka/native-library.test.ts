// A librdkafka that works is found, or built once, whatever lies in the cache.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, symlink, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Library, pointer } from "../../shared/kafka/ffi/library.ts";
import { type NativeSetup, prepare } from "../../shared/kafka/native-library.ts";
import { buildLibrary } from "../../shared/kafka/native-library-build.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { libraryPath } from "./kafka-variants.ts";

const ROOT = join(import.meta.dir, "..", "..");
const VERSION = new Library(libraryPath).version;
const FILE = "librdkafka.so.1";

let temporary = "";
let cacheBefore: string | undefined;

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), "event-pipeline-native-"));
  cacheBefore = process.env["XDG_CACHE_HOME"];
  process.env["XDG_CACHE_HOME"] = temporary;
});

afterEach(async () => {
  if (cacheBefore === undefined) delete process.env["XDG_CACHE_HOME"];
  else process.env["XDG_CACHE_HOME"] = cacheBefore;
  await rm(temporary, { recursive: true, force: true });
});

/** A set-up whose build is a copy, and what it says. */
function setUp(more: Partial<NativeSetup> = {}) {
  const said: string[] = [];
  const counter = { builds: 0 };
  const setup: NativeSetup = {
    version: VERSION,
    prebuilt: [],
    cacheName: "library",
    fileName: FILE,
    build: async (directory) => {
      counter.builds++;
      await copyFile(libraryPath, join(directory, FILE));
    },
    say: (line) => said.push(line),
    ...more,
  };
  return { setup, said, counter };
}

/** Changes a file that this process has loaded: under its feet, that would end it. */
async function replace(path: string, change: (file: string) => Promise<unknown>): Promise<void> {
  const file = `${path}.new`;
  await copyFile(path, file);
  await change(file);
  await rename(file, path);
}

test("it is built once, and then found", async () => {
  const { setup, counter } = setUp();
  const path = await prepare(setup);
  expect(path).toBe(join(temporary, "event-pipeline", "library", FILE));
  expect(await prepare(setup)).toBe(path);
  expect(counter.builds).toBe(1);
});

test("two processes that start at once build it once", async () => {
  const script = `
    import { appendFile, copyFile } from "node:fs/promises";
    import { join } from "node:path";
    import { prepare } from ${JSON.stringify(join(ROOT, "shared/kafka/native-library.ts"))};
    const path = await prepare({
      version: ${JSON.stringify(VERSION)}, prebuilt: [], cacheName: "library", fileName: "${FILE}",
      build: async (directory) => {
        await appendFile(${JSON.stringify(join(temporary, "builds"))}, "built\\n");
        await Bun.sleep(700);
        await copyFile(${JSON.stringify(libraryPath)}, join(directory, "${FILE}"));
      },
      say: () => {},
    });
    console.log(path);`;
  const start = () =>
    Bun.spawn([process.execPath, "-e", script], { cwd: ROOT, env: process.env, stderr: "inherit" });
  const children = [start(), start(), start()];
  const paths = await Promise.all(children.map(({ stdout }) => stdout.text()));
  const path = join(temporary, "event-pipeline", "library", FILE);
  expect(paths.map((line) => line.trim())).toEqual([path, path, path]);
  expect(await Bun.file(join(temporary, "builds")).text()).toBe("built\n");
});

test("a build that failed leaves nothing that is taken for a library", async () => {
  const failing = setUp({
    build: async (directory) => {
      await Bun.write(join(directory, FILE), "half");
      throw new FatalError("no compiler");
    },
  });
  await expect(prepare(failing.setup)).rejects.toThrow("no compiler");
  const { setup, counter } = setUp();
  await prepare(setup);
  expect(counter.builds).toBe(1);
});

test.each([
  ["cut off", (path: string) => replace(path, (file) => truncate(file, 1_000_000)), /is damaged/],
  ["another file", (path: string) => replace(path, (file) => Bun.write(file, "#!/bin/sh\n")), /is damaged/],
  ["gone", (path: string) => rm(path), /is damaged/],
  ["without a checksum", (path: string) => rm(join(path, "..", "sha256")), /no checksum/],
])("a cached library that is %s is built again, and never loaded", async (_, damage, reason) => {
  const { setup, said, counter } = setUp();
  const path = await prepare(setup);
  await damage(path);
  expect(await prepare(setup)).toBe(path);
  expect(counter.builds).toBe(2);
  expect(said.find((line) => line.startsWith("building librdkafka again"))).toMatch(reason);
  expect((await Bun.file(path).arrayBuffer()).byteLength).toBe(Bun.file(libraryPath).size);
});

test("a library of another version is not used, however often it is built", async () => {
  const { setup, counter } = setUp({ version: "9.9.9" });
  await expect(prepare(setup)).rejects.toThrow(`is version ${VERSION}, not 9.9.9`);
  expect(counter.builds).toBe(2);
});

test("the package's own binary is used when it works, and only then", async () => {
  const works = join(temporary, "works.node");
  await copyFile(libraryPath, works);
  const broken = join(temporary, "broken.node");
  await Bun.write(broken, "not a library");
  const { setup, counter } = setUp({ prebuilt: [join(temporary, "missing.node"), broken, works] });
  expect(await prepare(setup)).toBe(works);
  expect(counter.builds).toBe(0);
  const other = setUp({ prebuilt: [broken] });
  expect(await prepare(other.setup)).toBe(join(temporary, "event-pipeline", "library", FILE));
  const older = setUp({
    prebuilt: [works],
    version: "9.9.9",
    build: () => Promise.reject(new Error("built")),
  });
  await expect(prepare({ ...older.setup, cacheName: "other" })).rejects.toThrow("built");
});

test("without a compiler one message says what to install", async () => {
  const script = `
    import { prepareNativeLibrary } from ${JSON.stringify(join(ROOT, "shared/kafka/native-library.ts"))};
    await prepareNativeLibrary(console.log).catch((error) => console.log(error.name + ": " + error.message));`;
  const tools = join(temporary, "bin");
  await mkdir(tools);
  await symlink("/usr/bin/env", join(tools, "apt-get"));
  const run = async () => {
    const env = { ...process.env, PATH: tools };
    const child = Bun.spawn([process.execPath, "-e", script], { cwd: "/", env, stderr: "inherit" });
    return child.stdout.text();
  };
  expect(await run()).toMatch(
    /^FatalError: librdkafka [\d.]+ has to be built .*missing here: a C compiler, make, bash\. Install it and start again:\n {2}apt-get install -y gcc make libc6-dev libssl-dev zlib1g-dev libzstd-dev\n$/,
  );
  // A compiler that finds no headers.
  await Bun.write(join(tools, "gcc"), "#!/bin/sh\nexit 1\n");
  await chmod(join(tools, "gcc"), 0o755);
  await symlink("/usr/bin/env", join(tools, "make"));
  await symlink("/bin/sh", join(tools, "bash"));
  expect(await run()).toMatch(/missing here: the C library's headers\. Install/);
  const left = existsSync(join(temporary, "event-pipeline"))
    ? await readdir(join(temporary, "event-pipeline"))
    : [];
  expect(left.filter((name) => !/\.(lock|unfinished)$/.test(name))).toEqual([]);
});

test("a build works in a copy of the sources, and tells the end of its log when it fails", async () => {
  const sources = join(temporary, "sources");
  await mkdir(join(sources, "src"), { recursive: true });
  const configure = async (text: string) => {
    await Bun.write(join(sources, "configure"), text);
  };
  const build = async (name: string) => {
    const directory = join(temporary, name);
    await mkdir(directory);
    await buildLibrary({ sources, directory, fileName: FILE, version: "1.2.3", say: () => {} });
    return directory;
  };
  await Bun.write(join(sources, "src", "Makefile"), `${FILE}:\n\tcp ../configured $@\n`);
  await configure('echo "$@" > configured\n');
  const made = await build("good");
  const flags = await Bun.file(join(made, FILE)).text();
  expect(flags).toContain("--disable-lz4-ext --disable-gssapi --disable-curl --disable-debug-symbols");
  expect(existsSync(join(sources, "configured"))).toBe(false);
  expect((await readdir(made)).toSorted()).toEqual(["build.log", FILE]);
  await configure("echo checking for sanity... ; echo this compiler cannot compile >&2; exit 3\n");
  await expect(build("bad")).rejects.toThrow(
    /^librdkafka cannot be built: "bash \.\/configure .*" failed \(log: .*build\.log\):\nchecking for sanity\.\.\.\nthis compiler cannot compile$/,
  );
});

test("what C returns is a pointer or an error", () => {
  expect(Number(pointer(4096, "a test"))).toBe(4096);
  for (const value of [null, 0, -1, 1.5, Number.NaN, 2 ** 60, 0n]) {
    expect(() => pointer(value, "a test")).toThrow("librdkafka gave no valid pointer for a test");
  }
  expect(() => new Library(join(temporary, "nothing.so"))).toThrow(FatalError);
});
