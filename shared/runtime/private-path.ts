// Refuses directories in which other users of this machine could put a library that this program then loads.
import { readFileSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { FatalError } from "./errors.ts";

const ROOT = 0;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;
const STICKY = 0o1000;
/** How Linux shows users that do not exist in the user namespace of a container, among them the machine's root. */
const UNMAPPED_USER = 65_534;

/**
 * Checks a directory and all above it: anyone who may write to one of them can replace what lies below. Only this user, root
 * and the members of this user's own group may, or anybody in a directory above it like /tmp, where no user can rename the
 * entries of others.
 * @throws FatalError that names the directory, and says what to do
 */
export async function assertPrivatePath(directory: string): Promise<void> {
  const start = await realpath(directory);
  for (let path = start; ; path = dirname(path)) {
    const { uid, gid, mode } = await stat(path);
    const isSticky = path !== start && (mode & STICKY) !== 0;
    if (!isTrustedOwner(uid)) {
      throw new FatalError(
        `${path} belongs to another user (uid ${uid}), who could put a library there for this program to load: ${advice(directory)}`,
      );
    }
    const isOpenToGroup = (mode & GROUP_WRITES) !== 0 && gid !== ROOT && gid !== process.getgid?.();
    if ((isOpenToGroup || (mode & OTHERS_WRITE) !== 0) && !isSticky) {
      throw new FatalError(
        `other users may write to ${path}, and could put a library there for this program to load: run "chmod go-w ${path}" if you trust what is in it, or ${advice(directory)}`,
      );
    }
    if (path === dirname(path)) return;
  }
}

function advice(directory: string): string {
  return `remove ${directory}, or set XDG_CACHE_HOME to a directory in which only you may write`;
}

function isTrustedOwner(uid: number): boolean {
  if (uid === ROOT || uid === process.getuid?.()) return true;
  return uid === UNMAPPED_USER && isInUserNamespace();
}

function isInUserNamespace(): boolean {
  try {
    return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));
  } catch {
    return false;
  }
}
