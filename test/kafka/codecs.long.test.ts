// Tests librdkafka on a bare machine: one without a network and without headers of OpenSSL, zlib and zstd.
import { describe, expect } from "bun:test";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Library } from "../../shared/kafka/ffi/library.ts";
import { cacheDirectory } from "../../shared/runtime/cache.ts";
import { onKafka } from "./kafka-variants.ts";

const ROOT = join(import.meta.dir, "..", "..");
const HIDDEN = /^(?:openssl|zlib\.h|zconf\.h|zstd.*\.h|zdict\.h)$/;
/** A build takes half a minute on two idle cores, and the tests that follow it a quarter. */
const TIMEOUT_MS = 6 * 60_000;

describe("a bare machine", () => {
  onKafka(
    "builds a librdkafka that reads gzip, snappy, lz4 and zstd",
    async () => {
      await using machine = await BareMachine.start();
      const setUp = await machine.bun("-e", SET_UP);
      expect(setUp.exitCode, setUp.errors).toBe(0);
      const { path, said } = JSON.parse(setUp.output) as { path: string; said: string[] };
      expect(path).toMatch(/-plain\/librdkafka/);
      expect(said.at(-1)).toMatch(
        /^this librdkafka has no TLS and SCRAM; to get it, run ".+" and start again$/,
      );
      const features = new Library(path).features();
      expect(["gzip", "snappy", "lz4", "zstd"].filter((codec) => !features.has(codec))).toEqual([]);
      const linked = Bun.spawnSync(["ldd", path]).stdout.toString();
      expect(linked).toContain("libc.");
      expect(linked).not.toMatch(/libz\.|libzstd|libssl|libcrypto/);

      const codecs = await machine.bun("test", "--timeout=60000", "./test/kafka/codecs.test.ts");
      expect(codecs.exitCode, codecs.errors).toBe(0);
      expect(codecs.errors).toMatch(/^ 4 pass\n 0 fail$/m);
    },
    TIMEOUT_MS,
  );
});

const SET_UP = `
  const { prepareNativeLibrary } = await import("./shared/kafka/native-library.ts");
  const said = [];
  const { path } = await prepareNativeLibrary((line) => said.push(line));
  process.stdout.write(JSON.stringify({ path, said }));`;

/**
 * Runs programs whose gcc looks for headers in copies of its directories without those that are hidden. Their cache
 * holds no librdkafka, so that each run builds one.
 */
class BareMachine implements AsyncDisposable {
  readonly #directory: string;
  readonly #env: Readonly<Record<string, string | undefined>>;

  private constructor(directory: string, env: Readonly<Record<string, string | undefined>>) {
    this.#directory = directory;
    this.#env = env;
  }

  static async start(): Promise<BareMachine> {
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-bare-"));
    const options = ["-nostdinc"];
    for (const [index, from] of systemIncludes().entries()) {
      const to = join(directory, `include-${index}`);
      await mkdir(to);
      for (const name of await readdir(from)) {
        if (!HIDDEN.test(name)) await symlink(join(from, name), join(to, name));
      }
      options.push("-isystem", to);
    }
    const gcc = `#!/bin/sh\nexec ${Bun.which("gcc")} ${options.join(" ")} "$@"\n`;
    await writeFile(join(directory, "gcc"), gcc, { mode: 0o755 });
    return new BareMachine(directory, {
      ...process.env,
      PATH: `${directory}:${process.env["PATH"]}`,
      PKG_CONFIG_LIBDIR: directory,
      XDG_CACHE_HOME: await bareCache(directory),
      // Nothing listens there.
      HTTPS_PROXY: "http://127.0.0.1:9",
    });
  }

  async bun(...command: string[]): Promise<{ exitCode: number; output: string; errors: string }> {
    const child = Bun.spawn([process.execPath, ...command], {
      cwd: ROOT,
      env: this.#env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { exitCode: await child.exited, output, errors };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Makes a cache below `directory` that holds the user's Kafka, and nothing else. @returns its XDG_CACHE_HOME */
async function bareCache(directory: string): Promise<string> {
  const home = join(directory, "cache");
  const cache = join(home, "event-pipeline");
  await mkdir(cache, { recursive: true });
  for (const name of await readdir(cacheDirectory())) {
    const isKafka = name.startsWith("kafka-") && !name.endsWith(".lock");
    if (isKafka) await symlink(join(cacheDirectory(), name), join(cache, name));
  }
  return home;
}

/** The directories in which gcc looks for `#include <...>`, in its order. */
function systemIncludes(): string[] {
  const { stderr } = Bun.spawnSync(["gcc", "-E", "-v", "-x", "c", "/dev/null"], {
    env: { ...process.env, LC_ALL: "C" },
  });
  const list = /#include <\.\.\.> search starts here:\n([^]*?)End of search list/.exec(
    stderr.toString(),
  )?.[1];
  if (list === undefined) throw new Error(`gcc does not list its directories: ${stderr.toString()}`);
  return list
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
