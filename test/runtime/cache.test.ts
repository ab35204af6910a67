import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDirectory, cachedDirectory, withFileLock } from "../../shared/runtime/cache.ts";
import { rejection } from "../support/rejection.ts";

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
