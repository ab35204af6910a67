// Tests the choice of a librdkafka: from the cache, the package's release, or a build.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  utimes,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Library } from "../../shared/kafka/ffi/library.ts";
import { pointer } from "../../shared/kafka/ffi/memory.ts";
import { type NativeSetup, prepareLibrary } from "../../shared/kafka/native-library-cache.ts";
import { downloadRelease, releaseUrl } from "../../shared/kafka/native-library-release.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { libraryPath } from "./kafka-variants.ts";

const ROOT = join(import.meta.dir, "..", "..");
const VERSION = new Library(libraryPath).version;
// Without TLS where OpenSSL's headers are missing.
const FEATURES = [...new Library(libraryPath).features()];
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

/** A set-up without a network, whose build is a copy of a library, and the lines that it prints. */
function setUp(more: Partial<NativeSetup> = {}) {
  const said: string[] = [];
  const builds: ("with TLS" | "without TLS")[] = [];
  const setup: NativeSetup = {
    version: VERSION,
    features: FEATURES,
    fileName: FILE,
    installed: [],
    cacheName: "librdkafka-test",
    isAllowed: true,
    offersTls: () => Promise.resolve(true),
    download: () => Promise.reject(new Error("no network")),
    build: async (directory, withTls) => {
      builds.push(withTls ? "with TLS" : "without TLS");
      await copyFile(libraryPath, join(directory, FILE));
    },
    say: (line) => said.push(line),
    ...more,
  };
  return { setup, said, builds };
}

function cached(kind: string, name = "librdkafka-test"): string {
  return join(temporary, "event-pipeline", `${name}-${kind}`, FILE);
}

async function cachedDirectories(): Promise<string[]> {
  const entries = await readdir(join(temporary, "event-pipeline"), { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

/** Changes a file that this process has loaded: under its feet, that would end it. */
async function replace(path: string, change: (file: string) => Promise<unknown>): Promise<void> {
  const file = `${path}.new`;
  await copyFile(path, file);
  await change(file);
  await rename(file, path);
}

describe("a library from the cache", () => {
  test("is built once, and then found", async () => {
    const { setup, builds } = setUp();
    expect(await prepareLibrary(setup)).toBe(cached("tls"));
    expect(await prepareLibrary(setup)).toBe(cached("tls"));
    expect(builds).toEqual(["with TLS"]);
  });

  test("is not loaded from where other users may write", async () => {
    const { setup, builds } = setUp();
    await prepareLibrary(setup);
    await chmod(dirname(cached("tls")), 0o777);
    const refused: unknown = await prepareLibrary(setup).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(FatalError);
    expect(String(refused)).toContain(`other users may write to ${dirname(cached("tls"))}`);
    expect(builds).toEqual(["with TLS"]);
  });

  test("is built once by processes that start at once", async () => {
    const script = `
      import { appendFile, copyFile } from "node:fs/promises";
      import { dirname, join } from "node:path";
      import { prepareLibrary } from ${JSON.stringify(join(ROOT, "shared/kafka/native-library-cache.ts"))};
      const path = await prepareLibrary({
        version: ${JSON.stringify(VERSION)}, features: [], fileName: "${FILE}", installed: [], cacheName: "librdkafka-test",
        isAllowed: true,
        offersTls: () => Promise.resolve(false),
        download: () => Promise.reject(new Error("no network")),
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
    const path = cached("plain");
    expect(paths.map((line) => line.trim())).toEqual([path, path, path]);
    expect(await Bun.file(join(temporary, "builds")).text()).toBe("built\n");
  });

  test("is not left behind by a build that fails", async () => {
    const failing = setUp({
      build: async (directory) => {
        await Bun.write(join(directory, FILE), "half");
        throw new FatalError("no compiler");
      },
    });
    await expect(prepareLibrary(failing.setup)).rejects.toThrow("no compiler");
    const { setup, builds } = setUp();
    await prepareLibrary(setup);
    expect(builds).toHaveLength(1);
  });

  test.each([
    ["cut off", (path: string) => replace(path, (file) => truncate(file, 1_000_000)), /is damaged/],
    ["another file", (path: string) => replace(path, (file) => Bun.write(file, "#!/bin/sh\n")), /is damaged/],
    ["gone", (path: string) => rm(path), /is damaged/],
    ["without a checksum", (path: string) => rm(join(path, "..", "sha256")), /no checksum/],
  ])("is built again when it is %s", async (_, damage, reason) => {
    const { setup, said, builds } = setUp();
    const path = await prepareLibrary(setup);
    await damage(path);
    expect(await prepareLibrary(setup)).toBe(path);
    expect(builds).toHaveLength(2);
    expect(said.find((line) => line.startsWith("this cached librdkafka is not used"))).toMatch(reason);
    expect((await Bun.file(path).arrayBuffer()).byteLength).toBe(Bun.file(libraryPath).size);
  });

  test("is not used when it is of another version", async () => {
    await expect(prepareLibrary(setUp({ version: "9.9.9" }).setup)).rejects.toThrow(
      `is version ${VERSION}, not 9.9.9`,
    );
  });

  test("is replaced by one with TLS at the first start after OpenSSL was installed", async () => {
    const { setup: before } = setUp({ offersTls: () => Promise.resolve(false) });
    expect(await prepareLibrary(before)).toBe(cached("plain"));
    expect(await prepareLibrary(before)).toBe(cached("plain"));
    const { setup: after, builds } = setUp();
    expect(await prepareLibrary(after)).toBe(cached("tls"));
    expect(builds).toEqual(["with TLS"]);
    expect(await cachedDirectories()).toEqual(["librdkafka-test-tls"]);
    // Without its headers OpenSSL still works.
    expect(await prepareLibrary(before)).toBe(cached("tls"));
  });

  test("is removed with a new build when no start has used it for a month", async () => {
    const monthsAgo = new Date(Date.now() - 90 * 24 * 3600_000);
    const older = ["librdkafka-older-tls", "librdkafka-recent-tls", "librdkafka-oldest"];
    for (const name of older) {
      const directory = join(temporary, "event-pipeline", name);
      await mkdir(directory, { recursive: true });
      if (!name.includes("recent")) await utimes(directory, monthsAgo, monthsAgo);
    }
    await prepareLibrary(setUp().setup);
    expect((await cachedDirectories()).toSorted()).toEqual(["librdkafka-recent-tls", "librdkafka-test-tls"]);
  });

  test("counts as used with each start", async () => {
    const { setup } = setUp();
    const directory = dirname(await prepareLibrary(setup));
    const monthsAgo = new Date(Date.now() - 90 * 24 * 3600_000);
    await utimes(directory, monthsAgo, monthsAgo);
    await prepareLibrary(setup);
    expect((await stat(directory)).mtimeMs).toBeGreaterThan(monthsAgo.getTime() + 1000);
  });

  test("can be loaded again after its removal by the threads of a program that uses it", async () => {
    const { setup } = setUp();
    const path = await prepareLibrary(setup);
    await rm(dirname(path), { recursive: true });
    expect(new Library(path).version).toBe(VERSION);
  });
});

describe("a start that may not set up", () => {
  test("uses a cached library, with TLS or without", async () => {
    const { setup: before } = setUp({ offersTls: () => Promise.resolve(false) });
    await prepareLibrary(before);
    const { setup, builds } = setUp({ isAllowed: false });
    expect(await prepareLibrary(setup)).toBe(cached("plain"));
    expect(builds).toEqual([]);
  });

  test("fails without a cached library, and says what to do", async () => {
    const { setup, builds } = setUp({
      isAllowed: false,
      download: () => Promise.reject(new Error("not to be called")),
    });
    await expect(prepareLibrary(setup)).rejects.toThrow(
      /AUTO_SETUP=false forbids .* Start once with AUTO_SETUP=true/,
    );
    expect(builds).toEqual([]);
  });
});

describe("the package's own binary", () => {
  test("is used when it was installed and works", async () => {
    const works = join(temporary, "works.node");
    await copyFile(libraryPath, works);
    const broken = join(temporary, "broken.node");
    await Bun.write(broken, "not a library");
    const { setup, builds } = setUp({ installed: [join(temporary, "missing.node"), broken, works] });
    expect(await prepareLibrary(setup)).toBe(works);
    expect(builds).toEqual([]);
    expect(await prepareLibrary(setUp({ installed: [broken] }).setup)).toBe(cached("tls"));
  });

  test.each<[string, Partial<NativeSetup>]>([
    ["is of another version", { version: "9.9.9" }],
    ["lacks a feature", { features: ["gzip", "time travel"] }],
  ])("is not used when it %s", async (_, wanted) => {
    const installed = join(temporary, "installed.node");
    await copyFile(libraryPath, installed);
    const build = () => Promise.reject(new Error("built"));
    await expect(prepareLibrary(setUp({ ...wanted, installed: [installed], build }).setup)).rejects.toThrow(
      "built",
    );
  });
});

describe("the package's release", () => {
  /** Serves what a release holds. */
  function serve(answer: () => Response | Promise<Response>) {
    const server = Bun.serve({ port: 0, fetch: answer });
    const deadlines = { answerMs: 30_000, downloadMs: 30_000 };
    return {
      download: (file: string) => downloadRelease(`${server.url.href}release.tar.gz`, file, deadlines),
      [Symbol.asyncDispose]: () => server.stop(true),
    };
  }

  async function archive(path: string, content: Blob): Promise<Response> {
    const files = { "Release/obj.target/notes.txt": "not this one", [path]: await content.arrayBuffer() };
    return new Response(await new Bun.Archive(files, { compress: "gzip" }).bytes());
  }

  test("has a name that node-pre-gyp gives it", () => {
    const url = new URL(releaseUrl("musl"));
    expect(url.href).toMatch(
      /^https:\/\/github\.com\/confluentinc\/confluent-kafka-javascript\/releases\/download\/v([\d.]+)\/confluent-kafka-javascript-v\1-node-v\d+-(linux|darwin)-musl-(x64|arm64)\.tar\.gz$/,
    );
    expect(releaseUrl(undefined)).toContain(`-${process.platform}-unknown-${process.arch}.`);
  });

  test("is used before a build, and then found in the cache", async () => {
    await using release = serve(() =>
      archive("Release/confluent-kafka-javascript.node", Bun.file(libraryPath)),
    );
    const { setup, builds } = setUp({ download: release.download });
    expect(await prepareLibrary(setup)).toBe(cached("release"));
    expect(await prepareLibrary(setUp().setup)).toBe(cached("release"));
    expect(builds).toEqual([]);
  });

  test("replaces a library without TLS", async () => {
    await prepareLibrary(setUp({ offersTls: () => Promise.resolve(false) }).setup);
    await using release = serve(() =>
      archive("Release/confluent-kafka-javascript.node", Bun.file(libraryPath)),
    );
    expect(await prepareLibrary(setUp({ download: release.download }).setup)).toBe(cached("release"));
    expect(await cachedDirectories()).toEqual(["librdkafka-test-release"]);
  });

  test.each<[string, () => Response | Promise<Response>, RegExp]>([
    ["is missing", () => new Response("", { status: 404 }), /HTTP 404/],
    ["is no archive", () => new Response("hello"), /release\.tar\.gz: ./],
    ["holds no addon", () => archive("README.md", new Blob(["hello"])), /holds no addon/],
    ["does not load", () => archive("Release/a.node", new Blob(["hello"])), /does not load/],
  ])("gives way to a build when it %s", async (_, answer, reason) => {
    await using release = serve(answer);
    const { setup, said, builds } = setUp({ download: release.download });
    expect(await prepareLibrary(setup)).toBe(cached("tls"));
    expect(builds).toHaveLength(1);
    expect(said.find((line) => line.startsWith("the package's release of librdkafka is not used"))).toMatch(
      reason,
    );
  });

  test("gives way to a build when the network answers nothing", async () => {
    const { promise, resolve } = Promise.withResolvers<Response>();
    const server = Bun.serve({ port: 0, fetch: () => promise });
    try {
      const deadlines = { answerMs: 50, downloadMs: 30_000 };
      await expect(downloadRelease(server.url.href, join(temporary, "file"), deadlines)).rejects.toThrow(
        "no answer within 0.05 s",
      );
    } finally {
      resolve(new Response());
      await server.stop(true);
    }
  });

  test("gives way to a build when its download stalls", async () => {
    const stalled = new ReadableStream({
      pull: (controller) => {
        controller.enqueue(new Uint8Array(1000));
        return new Promise(() => {});
      },
    });
    const server = Bun.serve({ port: 0, fetch: () => new Response(stalled) });
    try {
      const deadlines = { answerMs: 30_000, downloadMs: 300 };
      await expect(downloadRelease(server.url.href, join(temporary, "file"), deadlines)).rejects.toThrow(
        "not complete within 0.3 s",
      );
    } finally {
      await server.stop(true);
    }
  });
});

describe("the set-up", () => {
  test("says once what the new library lacks, and the command that adds it", async () => {
    const complete = setUp({ cacheName: "complete" });
    await prepareLibrary(complete.setup);
    expect(complete.said.filter((line) => line.startsWith("this librdkafka"))).toEqual([]);
    const { setup, said } = setUp({ features: ["gzip", "time travel"] });
    await prepareLibrary(setup);
    expect(said.at(-1)).toMatch(
      /^this librdkafka has no time travel; to get it, run ".*(libssl-dev|openssl).*" and start again$/,
    );
    const saidBefore = said.length;
    await prepareLibrary(setup);
    expect(said).toHaveLength(saidBefore);
  });
});

test("what C returns is a pointer or an error", () => {
  expect(Number(pointer(4096, "a test"))).toBe(4096);
  for (const value of [null, 0, -1, 1.5, Number.NaN, 2 ** 60, 0n]) {
    expect(() => pointer(value, "a test")).toThrow("librdkafka returned no valid pointer for a test");
  }
  expect(() => new Library(join(temporary, "nothing.so"))).toThrow(FatalError);
});
