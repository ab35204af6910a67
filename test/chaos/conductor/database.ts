// Prepares the database that a chaos run breaks: its role, its tables, and a small file system for its raw events.
import { chown, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import { migrate } from "../../../shared/store/migrate.ts";
import { readMigrations } from "../../../shared/store/migration-files.ts";
import { Session } from "../../../shared/store/session.ts";
import type { PostgresServer } from "../../support/postgres.ts";

export const GROUP = "chaos";
export const DATABASE = "chaos";
export const ROLE = "pipeline";
export const INITIAL_PASSWORD = "first-password";
/** Room for the raw events of a long run, and small enough to fill. */
const TABLESPACE_MIB = 3000;

/** A database of the pipeline's role with the pipeline's tables; raw_events on the small disk. */
export async function prepareDatabase(
  server: PostgresServer,
  smallDisk: string | undefined,
): Promise<postgres.Sql> {
  const { host, port, user, password } = server;
  const login = { host, port, username: user, password, onnotice() {} };
  const admin = postgres({ ...login, database: "postgres", max: 1 });
  try {
    await admin.unsafe(`create role ${ROLE} login password '${INITIAL_PASSWORD}'`);
    await admin.unsafe(`create database ${DATABASE} owner ${ROLE} template template0`);
    if (smallDisk !== undefined) {
      await admin.unsafe(`create tablespace small_disk owner ${ROLE} location '${smallDisk}'`);
    }
  } finally {
    await admin.end({ timeout: 1 });
  }
  const session = await Session.open(
    {
      host,
      port,
      user: ROLE,
      password: INITIAL_PASSWORD,
      name: DATABASE,
      sslMode: "disable",
      minConnections: 1,
      maxConnections: 2,
    },
    { role: "main", consumerGroup: GROUP },
  );
  await migrate(session.sql, await readMigrations());
  await session.close();
  const sql = postgres({ ...login, database: DATABASE, max: 4, connection: { application_name: "chaos" } });
  if (smallDisk !== undefined) {
    await sql.unsafe("alter table raw_events set tablespace small_disk");
    await sql.unsafe("alter index raw_events_pkey set tablespace small_disk");
  }
  return sql;
}

/** @returns a directory of the server's user on a file system that can be filled; undefined where it cannot be mounted */
export async function mountSmallDisk(serverDirectory: string): Promise<string | undefined> {
  const { uid, gid } = await stat(join(serverDirectory, "data"));
  const disk = join(serverDirectory, "small-disk");
  await mkdir(disk);
  const mount = Bun.spawn(
    ["mount", "-t", "tmpfs", "-o", `size=${TABLESPACE_MIB}m,uid=${uid},gid=${gid}`, "tmpfs", disk],
    { stdio: ["ignore", "ignore", "ignore"] },
  );
  if ((await mount.exited) !== 0) return undefined;
  const directory = join(disk, "tablespace");
  await mkdir(directory);
  await chown(directory, uid, gid);
  return directory;
}

/** The server may still have files open there, so the mount goes when they are closed. */
export async function unmount(directory: string): Promise<void> {
  await Bun.spawn(["umount", "-l", join(directory, "..")], { stdio: ["ignore", "ignore", "ignore"] }).exited;
}
