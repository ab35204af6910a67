// A name in; a directory that is made once per user and kept between runs out (jars, templates, built libraries).
import { Database, SQLiteError } from "bun:sqlite";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

const LOCK_POLL_MS = 50;

/** Where this user's cached files lie: `$XDG_CACHE_HOME/event-pipeline`, by default under `~/.cache`. */
export function cacheDirectory(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "event-pipeline");
}

/**
 * The cached directory `name`, made by `fill` when it is not there. It appears whole or not at all: `fill`
 * works in a directory beside it. Of two processes that start at once, one waits and uses what the other made.
 * @param parent where it goes, if not among this user's cached files
 * @returns its path
 */
export async function cachedDirectory(
  name: string,
  fill: (emptyDirectory: string) => Promise<void>,
  parent = cacheDirectory(),
): Promise<string> {
  const path = join(parent, name);
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  return withFileLock(`${path}.lock`, async () => {
    if (existsSync(path)) return path;
    const unfinished = `${path}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    await fill(unfinished);
    await rename(unfinished, path);
    return path;
  });
}

/**
 * Runs `work` while no other process holds the lock `path`. The lock is SQLite's, thus the operating
 * system's: it ends with its process, and no one has to judge whether a lock that is left over is stale.
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const lock = new Database(path);
  try {
    while (!tryBeginExclusive(lock)) await Bun.sleep(LOCK_POLL_MS);
    return await work();
  } finally {
    lock.close();
  }
}

function tryBeginExclusive(lock: Database): boolean {
  try {
    lock.run("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    if (error instanceof SQLiteError && error.code === "SQLITE_BUSY") return false;
    throw error;
  }
}
