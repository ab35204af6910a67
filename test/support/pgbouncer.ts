// Runs PgBouncer in front of a PostgreSQL server.
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../shared/runtime/free-port.ts";
import { reapOnExit, removeOnExit } from "../../shared/runtime/child-reaper.ts";
import { ordinaryUser } from "../../shared/store/postgres-installation.ts";
import { eventually } from "./eventually.ts";
import type { PostgresAddress } from "./postgres.ts";

/** Why PgBouncer cannot run here; undefined where it can. */
export function whyNoPgBouncer(): string | undefined {
  return executable() === null ? "pgbouncer is not installed" : undefined;
}

function executable(): string | null {
  // Debian's package installs it where only root's PATH leads.
  return Bun.which("pgbouncer") ?? Bun.which("pgbouncer", { PATH: "/usr/sbin:/usr/local/sbin" });
}

/** A running PgBouncer that leads to every database of a server. */
export interface PgBouncer extends AsyncDisposable {
  /** Where it listens; the users and passwords are the server's. */
  readonly address: PostgresAddress;
}

/**
 * @param settings of the section [pgbouncer], besides the addresses and how a login is checked; by default a pool in
 *   session mode, and what PgBouncer has for the rest
 */
export async function startPgBouncer(
  server: PostgresAddress,
  settings: Readonly<Record<string, string>> = {},
): Promise<PgBouncer> {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-pgbouncer-"));
  const removal = removeOnExit(directory);
  // It refuses to run as root.
  const runAs = process.getuid?.() === 0 ? await ordinaryUser() : undefined;
  const port = await freePort();
  const all = {
    listen_addr: "127.0.0.1",
    listen_port: port,
    unix_socket_dir: "",
    auth_type: "scram-sha-256",
    auth_file: join(directory, "users.txt"),
    // The users of the tests come and go, so PgBouncer asks the server for them.
    auth_user: server.user,
    ...settings,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`);
  const target = `* = host=${server.host} port=${server.port}`;
  await writeFile(
    join(directory, "pgbouncer.ini"),
    `[databases]\n${target}\n[pgbouncer]\n${lines.join("\n")}\n`,
  );
  await writeFile(join(directory, "users.txt"), `"${server.user}" "${server.password}"\n`);
  for (const path of ["", "pgbouncer.ini", "users.txt"])
    if (runAs) await chown(join(directory, path), runAs.uid, runAs.gid);
  const log = Bun.file(join(directory, "log"));
  const child = Bun.spawn([executable()!, join(directory, "pgbouncer.ini")], {
    ...(runAs && { uid: runAs.uid, gid: runAs.gid }),
    stdio: ["ignore", log, log],
  });
  // It ends with this process, which must not wait for it.
  child.unref();
  const reaper = reapOnExit({ pid: child.pid, signal: "KILL" });
  const stop = async () => {
    child.kill("SIGKILL");
    await child.exited;
    reaper.release();
    await rm(directory, { recursive: true, force: true });
    removal.release();
  };
  const address = { ...server, host: "127.0.0.1", port };
  try {
    await eventually("PgBouncer listens", async () => {
      if (child.exitCode !== null) throw new Error(`PgBouncer ended: ${await log.text()}`);
      (await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } })).end();
      return true;
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { address, [Symbol.asyncDispose]: stop };
}
