// Tests the build of librdkafka from its sources.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type NativeSources, buildLibrary } from "../../shared/kafka/native-library-build.ts";

const ROOT = join(import.meta.dir, "..", "..");
const FILE = "librdkafka.so.1";

let temporary = "";

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), "event-pipeline-native-"));
});

afterEach(() => rm(temporary, { recursive: true, force: true }));

describe("a build", () => {
  test("fails with one message that says what to install", async () => {
    const tools = join(temporary, "bin");
    await mkdir(tools);
    await symlink("/usr/bin/env", join(tools, "apt-get"));
    const script = `
      import { buildLibrary } from ${JSON.stringify(join(ROOT, "shared/kafka/native-library-build.ts"))};
      const sources = { librdkafka: "/nowhere", zlib: "/nowhere", zstd: "/nowhere" };
      await buildLibrary({ sources, directory: "/nowhere", fileName: "x", version: "1.2.3", flags: [], say() {} })
        .catch((error) => console.log(error.name + ": " + error.message));`;
    const run = async () => {
      const env = { ...process.env, PATH: tools };
      const child = Bun.spawn([process.execPath, "-e", script], { cwd: "/", env, stderr: "inherit" });
      return child.stdout.text();
    };
    expect(await run()).toBe(
      "FatalError: librdkafka 1.2.3 must be built from the sources in its package, and this machine lacks " +
        "a C compiler, make, bash. Install that and start again:\n" +
        "  apt-get install -y gcc make libc6-dev libssl-dev\n",
    );
    // A compiler that finds no headers.
    await Bun.write(join(tools, "gcc"), "#!/bin/sh\nexit 1\n");
    await chmod(join(tools, "gcc"), 0o755);
    await symlink("/usr/bin/env", join(tools, "make"));
    await symlink("/bin/sh", join(tools, "bash"));
    expect(await run()).toMatch(/this machine lacks the C library's headers\. Install/);
  });

  test("works in a copy of the sources, and reports the end of its log when it fails", async () => {
    const sources = Object.fromEntries(
      ["librdkafka", "zlib", "zstd"].map((name) => [name, join(temporary, "with a space", name)]),
    ) as unknown as NativeSources;
    await mkdir(join(sources.librdkafka, "src"), { recursive: true });
    await Bun.write(join(sources.zlib, "inflate.c"), "int inflate(void) { return 0; }\n");
    await Bun.write(join(sources.zstd, "common", "common.c"), "int ZSTD_version(void) { return 0; }\n");
    const configure = async (text: string) => {
      await Bun.write(join(sources.librdkafka, "configure"), text);
    };
    const build = async (name: string) => {
      const directory = join(temporary, name);
      await mkdir(directory);
      await buildLibrary({
        sources,
        directory,
        fileName: FILE,
        version: "1.2.3",
        flags: ["--disable-ssl"],
        say: () => {},
      });
      return directory;
    };
    await Bun.write(join(sources.librdkafka, "src", "Makefile"), `${FILE}:\n\tcp ../configured $@\n`);
    await configure('echo "$@" > configured; ls ../*.a >> configured; echo $LDFLAGS >> configured\n');
    const made = await build("good");
    const configured = await Bun.file(join(made, FILE)).text();
    expect(configured).toContain("--disable-lz4-ext --disable-gssapi --disable-curl --disable-debug-symbols");
    expect(configured).toContain("--disable-ssl\n");
    expect(configured).toContain("../libz.a\n../libzstd.a\n-L.. -L../..\n");
    expect(existsSync(join(sources.librdkafka, "configured"))).toBe(false);
    expect((await readdir(made)).toSorted()).toEqual(["build.log", FILE]);
    await configure("echo checking for sanity... ; echo this compiler cannot compile >&2; exit 3\n");
    await expect(build("bad")).rejects.toThrow(
      /^librdkafka cannot be built: "bash \.\/configure .*" failed \(log: .*build\.log\):\nchecking for sanity\.\.\.\nthis compiler cannot compile$/,
    );
  });
});
