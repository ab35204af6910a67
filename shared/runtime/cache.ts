// Keeps directories that are expensive to make (jars, templates, built libraries) between runs, once for each user.
import { Database, SQLiteError } from "bun:sqlite";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, rmdir } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { assertPrivatePath } from "./private-path.ts";

const LOCK_POLL_MS = 50;

/** The directory of this user's cached files: `$XDG_CACHE_HOME/event-pipeline`, by default under `~/.cache`. */
export function cacheDirectory(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "event-pipeline");
}

/**
 * Returns the path of the cached directory `name`, which `fill` makes when it does not exist. The directory appears
 * complete or not at all, because `fill` works in another directory beside it. Of two processes that start at the same
 * time, one waits and uses the directory of the other.
 * @param parent the directory to put it in, by default the directory of this user's cached files
 * @throws FatalError when other users may write to it
 */
export async function cachedDirectory(
  name: string,
  fill: (emptyDirectory: string) => Promise<void>,
  parent = cacheDirectory(),
): Promise<string> {
  const path = join(parent, name);
  if (await isCached(path)) return path;
  // Readable by others: an image is built by root and run by another user.
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await assertPrivatePath(dirname(path));
  return withFileLock(`${path}.lock`, async () => {
    if (existsSync(path)) return path;
    const unfinished = `${path}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await mkdir(unfinished);
    try {
      await fill(unfinished);
    } catch (error) {
      // Unless it holds something for a person to read, such as the log of a build.
      await rmdir(unfinished).catch(() => {});
      throw error;
    }
    await rename(unfinished, path);
    return path;
  });
}

/** Whether a cached directory exists. @throws FatalError when other users may write to it */
export async function isCached(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  await assertPrivatePath(path);
  return true;
}

/**
 * Runs `work` while no other process holds the lock `path`. SQLite locks the file through the operating system, so a
 * lock ends with its process and is never stale.
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
