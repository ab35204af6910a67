// Runs a private PostgreSQL server that ends with this program.

import { closeSync, openSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, FatalError } from "../runtime/errors.ts";
import { freePort } from "../runtime/free-port.ts";
import { type Reaper, reapOnExit, removeOnExit } from "../runtime/child-reaper.ts";
import {
  copyTree,
  emptyCluster,
  findInstallation,
  identity,
  type Installation,
  runDirectory,
  SUPERUSER,
} from "./postgres-installation.ts";

const START_DEADLINE_MS = 30_000;
/** A standby takes sessions as well. */
const READY_STATES: ReadonlySet<string> = new Set(["ready", "standby"]);

export interface EmbeddedPostgresOptions {
  /** Survives a crash of the machine (fsync). By default the data survives only a crash of the server. */
  durable?: boolean;
  /** Further server settings, such as `{ max_connections: "50" }`. */
  settings?: Readonly<Record<string, string>>;
  /** A directory in which another version of the binaries is installed. */
  installedFor?: string;
}

/**
 * A PostgreSQL server on a loopback port, with its data directory below the temporary directory. Passwords are
 * checked (scram-sha-256). The empty cluster is copied from a template in the cache.
 */
export class EmbeddedPostgres {
  readonly host = "127.0.0.1";
  readonly user = SUPERUSER;
  readonly port: number;
  readonly password: string;
  /** Holds `data` and the server's log, `postgres.log`. */
  readonly directory: string;
  readonly #installation: Installation;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #directoryReaper: Reaper;
  #server: Bun.Subprocess | undefined;
  #reaper: Reaper | undefined;
  #frozen = false;

  private constructor(
    installation: Installation,
    place: { directory: string; directoryReaper: Reaper; password: string; port: number },
    options: EmbeddedPostgresOptions,
  ) {
    this.#installation = installation;
    this.directory = place.directory;
    this.#directoryReaper = place.directoryReaper;
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
    const installation = await findInstallation(options.installedFor);
    const template = await emptyCluster(installation);
    const directory = await runDirectory(installation);
    const directoryReaper = removeOnExit(directory);
    try {
      await copyTree(join(template, "data"), join(directory, "data"));
      const password = await readFile(join(template, "password"), "utf8");
      const port = await freePort();
      const server = new EmbeddedPostgres(
        installation,
        { directory, directoryReaper, password, port },
        options,
      );
      await server.start();
      return server;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      directoryReaper.release();
      throw error;
    }
  }

  /** Process id of the postmaster; undefined while the server is stopped. */
  get pid(): number | undefined {
    return this.#server?.pid;
  }

  /** The file that the server logs to. */
  get logPath(): string {
    return join(this.directory, "postgres.log");
  }

  /** Starts the server again after `stop()`, on the same port and data; after a crash PostgreSQL recovers first. */
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
      // Detached, so that Ctrl-C at the terminal reaches only the program, which still needs its database.
      { ...identity(runAs), detached: true, stdio: ["ignore", "ignore", log] },
    );
    closeSync(log);
    server.unref();
    this.#server = server;
    this.#reaper = reapOnExit({ pid: server.pid, signal: "QUIT" });
    void server.exited.then(() => this.#ended(server));
    await this.#untilReady(server);
  }

  /**
   * Stops the server like `pg_ctl stop -m`: `fast` ends sessions and writes a checkpoint; `immediate` is a crash and
   * loses what is not in the WAL yet. Returns when the process has ended.
   */
  async stop(mode: "fast" | "immediate" = "fast"): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    server.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    await server.exited;
    this.#ended(server);
  }

  /**
   * Freezes (SIGSTOP) or continues (SIGCONT) the postmaster and all its backends: connections stay open, unanswered.
   */
  async signal(name: "STOP" | "CONT"): Promise<void> {
    const postmaster = this.#server?.pid;
    if (postmaster === undefined) throw new Error("the server is not running");
    const signal = `SIG${name}` as const;
    // The postmaster is the first to stop and the last to continue, so that it starts no backend in between.
    if (name === "STOP") process.kill(postmaster, signal);
    for (const pid of await childrenOf(postmaster)) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        // A backend that has ended meanwhile needs no signal.
        if (codeOf(error) !== "ESRCH") throw error;
      }
    }
    if (name === "CONT") process.kill(postmaster, signal);
    this.#frozen = name === "STOP";
  }

  /** Ends the server at once and removes its directory. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#frozen) await this.signal("CONT");
    await this.stop("immediate");
    await rm(this.directory, { recursive: true, force: true });
    this.#directoryReaper.release();
  }

  /** Also runs when the server ends unexpectedly: its process id may soon belong to another process. */
  #ended(server: Bun.Subprocess): void {
    if (this.#server !== server) return;
    this.#server = undefined;
    this.#frozen = false;
    this.#reaper?.release();
    this.#reaper = undefined;
  }

  /** The postmaster writes its state into the last line of postmaster.pid; pg_ctl waits for it in the same way. */
  async #untilReady(server: Bun.Subprocess): Promise<void> {
    const pidFile = join(this.directory, "data", "postmaster.pid");
    const deadline = Date.now() + START_DEADLINE_MS;
    while (Date.now() < deadline && server.exitCode === null && server.signalCode === null) {
      const lines = await readFile(pidFile, "utf8").then(
        (text) => text.split("\n"),
        () => [],
      );
      if (Number(lines[0]) === server.pid && READY_STATES.has(lines[7]?.trim() ?? "")) return;
      await Bun.sleep(10);
    }
    server.kill("SIGQUIT");
    await server.exited;
    this.#ended(server);
    const log = await readFile(this.logPath, "utf8").catch(() => "");
    throw new FatalError(`PostgreSQL did not start:\n${log.trim().split("\n").slice(-10).join("\n")}`);
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const children = await readFile(`/proc/${parent}/task/${parent}/children`, "utf8").catch(() => undefined);
  if (children !== undefined) return children.split(" ").filter(Boolean).map(Number);
  const list = await Bun.spawn(["ps", "-A", "-o", "pid=", "-o", "ppid="]).stdout.text();
  return list
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .map(([pid]) => pid!);
}
