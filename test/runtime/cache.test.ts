import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory, cachedDirectory, withFileLock } from "../../shared/runtime/cache.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { rejection } from "../support/rejection.ts";
import { requiring } from "../support/requirements.ts";

const MODULE = import.meta.resolve("../../shared/runtime/cache.ts");

let home: string;
let previous: string | undefined;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "event-pipeline-cache-"));
  previous = process.env["XDG_CACHE_HOME"];
  process.env["XDG_CACHE_HOME"] = home;
});

afterEach(async () => {
  if (previous === undefined) delete process.env["XDG_CACHE_HOME"];
  else process.env["XDG_CACHE_HOME"] = previous;
  await rm(home, { recursive: true, force: true });
});

test("a cached directory is filled once", async () => {
  let fills = 0;
  const fill = async (directory: string) => {
    fills++;
    await Bun.write(join(directory, "file"), "content");
  };
  const first = await cachedDirectory("thing", fill);
  expect(await cachedDirectory("thing", fill)).toBe(first);
  expect(first).toBe(join(home, "event-pipeline", "thing"));
  expect(await readdir(first)).toEqual(["file"]);
  expect(fills).toBe(1);
});

test("a directory whose filling fails does not exist, and the next call fills an empty one", async () => {
  const failing = cachedDirectory("thing", async (directory) => {
    await Bun.write(join(directory, "half"), "");
    throw new Error("no network");
  });
  expect((await rejection(failing)).message).toContain("no network");
  expect(existsSync(join(cacheDirectory(), "thing"))).toBe(false);
  const path = await cachedDirectory("thing", (directory) => Bun.write(join(directory, "whole"), "").then());
  expect(await readdir(path)).toEqual(["whole"]);
});

const NOBODY = 65_534;

describe("a cache in which other users may write", () => {
  const cached = async () => {
    let fills = 0;
    const fill = async (directory: string) => {
      fills++;
      await Bun.write(join(directory, "library"), "ours");
    };
    const outcome = await cachedDirectory("thing", fill).catch((error: unknown) => error);
    return { outcome, fills };
  };
  const shared = () => join(home, "event-pipeline");
  const thing = () => join(shared(), "thing");

  /** What somebody else has done before, and the directory that the error names. */
  const prepared: [what: string, prepare: () => Promise<unknown>, named: () => string, needsRoot?: true][] = [
    ["a cache that anyone may write to", () => mkdirs(shared(), 0o777), shared],
    ["a sticky cache that anyone may write to", () => mkdirs(shared(), 0o1777), shared],
    ["an entry that anyone may write to", () => mkdirs(thing(), 0o777), thing],
    ["a directory above it that anyone may write to", () => chmod(home, 0o777), () => home],
    ["a cache of another group", () => mkdirs(shared(), 0o775, 0, NOBODY), shared, true],
    ["a cache of another user", () => mkdirs(shared(), 0o755, NOBODY), shared, true],
    ["an entry of another user", () => mkdirs(thing(), 0o755, NOBODY), thing, true],
    ["a directory of another user above it", () => chown(home, NOBODY, 0), () => home, true],
    ["a link to a directory of another user", () => linkTo(shared()), () => `${home}/elsewhere`, true],
  ];
  for (const [what, prepare, named, needsRoot] of prepared) {
    const isAble = needsRoot === undefined || process.getuid?.() === 0;
    requiring("root, to give a directory to another user", isAble ? undefined : "this is another user")(
      `is refused: ${what}`,
      async () => {
        await prepare();
        const { outcome, fills } = await cached();
        expect(outcome).toBeInstanceOf(FatalError);
        expect(String(outcome)).toMatch(new RegExp(` ${named()}[ ,]`));
        expect(String(outcome)).toContain("XDG_CACHE_HOME");
        expect(fills).toBe(0);
      },
    );
  }

  test("is told from one of this user, below a directory like /tmp", async () => {
    await chmod(home, 0o1777);
    expect(await cached()).toEqual({ outcome: thing(), fills: 1 });
    expect((await stat(shared())).mode & 0o777).toBe(0o755 & ~process.umask());
  });

  test("is told from one of this user's own group", async () => {
    await mkdirs(shared(), 0o775);
    expect(await cached()).toEqual({ outcome: thing(), fills: 1 });
  });

  async function mkdirs(path: string, mode: number, uid?: number, gid?: number): Promise<void> {
    await mkdir(path, { recursive: true });
    await chmod(path, mode);
    if (uid !== undefined) await chown(path, uid, gid ?? 0);
  }

  async function linkTo(path: string): Promise<void> {
    await mkdirs(`${home}/elsewhere`, 0o755, NOBODY);
    await symlink(`${home}/elsewhere`, path);
  }
});

/** Runs `body`, which can call `cachedDirectory` and `withFileLock`, in another process. */
function elsewhere(body: string) {
  const script = `const { cachedDirectory, withFileLock } = await import(${JSON.stringify(MODULE)});\n${body}`;
  return Bun.spawn([process.execPath, "-e", script], {
    env: { ...process.env },
    stdio: ["ignore", "pipe", "inherit"],
  });
}

test("a cached directory is filled by one of several processes that start at the same time", async () => {
  const log = join(home, "log");
  const body = `
    const { appendFileSync, writeFileSync } = await import("node:fs");
    const path = await cachedDirectory("thing", async (directory) => {
      appendFileSync(${JSON.stringify(log)}, "filled\\n");
      await Bun.sleep(200);
      writeFileSync(directory + "/file", "whole");
    });
    console.log(await Bun.file(path + "/file").text());`;
  const processes = Array.from({ length: 4 }, () => elsewhere(body));
  expect(await Promise.all(processes.map((process) => process.stdout.text()))).toEqual(
    Array.from({ length: 4 }, () => "whole\n"),
  );
  expect(await Bun.file(log).text()).toBe("filled\n");
});

test("a lock keeps other processes out until its holder is killed", async () => {
  const lock = join(home, "lock");
  const holder = elsewhere(
    `await withFileLock(${JSON.stringify(lock)}, async () => { console.log("held"); await Bun.sleep(60_000); });`,
  );
  await holder.stdout.getReader().read();
  let entered = false;
  const waiting = withFileLock(lock, async () => {
    entered = true;
  });
  await Bun.sleep(300);
  expect(entered).toBe(false);
  holder.kill("SIGKILL");
  await waiting;
  expect(entered).toBe(true);
});
