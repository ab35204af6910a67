// Opens one connection to PostgreSQL that is never renewed silently.

import { connect, type Socket } from "node:net";
import postgres, { type Sql, type TransactionSql } from "postgres";
import type { DatabaseConfig } from "../config/config.ts";
import { suppressRollbackAfterDisconnect } from "./driver-workarounds.ts";
import { ConnectionLost, isDisconnection } from "./sqlstate.ts";

/** Parsers that differ from the driver's: int8 as number (counts and offsets stay below 2^53). */
const TYPES = {
  bigint: { to: 20, from: [20], parse: Number, serialize: String },
} satisfies Record<string, postgres.PostgresType<number>>;
export type Transaction = TransactionSql<{ bigint: number }>;
export type Database = Sql<{ bigint: number }>;

/** The program and part that a connection belongs to; application_name shows it. */
export type SessionRole = "worker" | "main" | "check" | "console";

export const APPLICATION_PREFIX = "event-pipeline";
const MAX_APPLICATION_NAME = 63;

/**
 * application_name of a session: role, then consumer group. PostgreSQL cuts it at 63 bytes, so a long group
 * is replaced by its beginning and a digest.
 */
export function applicationName(role: SessionRole, consumerGroup: string): string {
  const name = `${APPLICATION_PREFIX} ${role} ${consumerGroup}`;
  if (Buffer.byteLength(name) <= MAX_APPLICATION_NAME) return name;
  const digest = new Bun.CryptoHasher("sha256").update(consumerGroup).digest("hex").slice(0, 12);
  return `${Buffer.from(name)
    .subarray(0, 40)
    .toString("latin1")
    .replace(/[^ -~]/g, "?")}~${digest}`;
}

/** How long a session waits, ms. A peer that stands still must not stop the others. */
const WAIT_LIMITS = {
  idle_in_transaction_session_timeout: 10_000,
  lock_timeout: 10_000,
  statement_timeout: 60_000,
} as const;

/** The console only reads, and gives up early rather than hold up a worker. */
const CONSOLE_LIMITS = {
  ...WAIT_LIMITS,
  lock_timeout: 1000,
  statement_timeout: 2000,
  default_transaction_read_only: true,
} as const;

/** Server-side TCP keepalives: a client whose machine is gone frees its locks within about 25 s. */
const KEEPALIVES = { tcp_keepalives_idle: 10, tcp_keepalives_interval: 5, tcp_keepalives_count: 3 } as const;

const CONNECT_TIMEOUT_SECONDS = 10;
const HOUSEKEEPING_DEADLINE_MS = 20_000;

export interface SessionOptions {
  readonly role: SessionRole;
  readonly consumerGroup: string;
  /** Called once when an open connection is lost, also while idle; not when its owner closes or destroys it. */
  readonly onLost?: () => void;
}

/**
 * One connection to PostgreSQL with one backend behind it. A broken session stays broken: its owner opens
 * another one and forgets everything it knows about the database from this one. (The driver alone would
 * reconnect silently, and a statement meant for a transaction would commit outside of it.)
 */
export class Session {
  readonly sql: Database;
  readonly #socket: { current: Socket | undefined };
  /** Set while the session is open: one that never opened, or that its owner ends, is not lost. */
  #onLost: (() => void) | undefined;
  #isLost = false;
  #backendPid = 0;
  /** Database clock minus our monotonic clock, ms. */
  #clockOffsetMs = 0;

  private constructor(sql: Database, socket: { current: Socket | undefined }) {
    this.sql = sql;
    this.#socket = socket;
  }

  /**
   * Connects and reads the database's clock.
   * @throws what the driver throws, see `classify`; no connection stays open then
   */
  static async open(config: DatabaseConfig, options: SessionOptions): Promise<Session> {
    const socket: { current: Socket | undefined } = { current: undefined };
    const driverOptions: postgres.Options<typeof TYPES> & { socket: () => Promise<Socket> } = {
      host: config.host,
      port: config.port,
      database: config.name,
      username: config.user,
      password: config.password,
      ssl: sslOption(config),
      max: 1,
      max_lifetime: null,
      idle_timeout: 0,
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      fetch_types: false,
      // We open the socket, because only destroying it ends a transaction when the server does not answer. A session
      // has one socket: the driver would reconnect for a statement that waits in its queue.
      socket: async () => {
        if (socket.current !== undefined) throw new ConnectionLost("the connection to PostgreSQL is lost");
        socket.current = await openSocket(config);
        return socket.current;
      },
      types: TYPES,
      connection: {
        application_name: applicationName(options.role, options.consumerGroup),
        // The workers' offsets and effects commit together, and Kafka keeps the records: a crash of the
        // server loses the last transactions whole, and they are repeated.
        ...(options.role === "worker" ? { synchronous_commit: "off" } : {}),
        default_transaction_isolation: "read committed",
        TimeZone: "UTC",
        ...limitsOf(options.role),
        ...KEEPALIVES,
      },
      onnotice: () => undefined,
      onclose: () => session.#markLost(),
    };
    const sql: Database = postgres(driverOptions);
    const session = new Session(sql, socket);
    suppressRollbackAfterDisconnect(sql, () => session.isLost);
    try {
      await session.#readServerInfo();
    } catch (error) {
      session.destroy();
      throw error;
    }
    session.#onLost = options.onLost;
    return session;
  }

  /** Process id of the server's backend. */
  get backendPid(): number {
    return this.#backendPid;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** The database's clock as last read, ms since 1970. */
  now(): number {
    return performance.now() + this.#clockOffsetMs;
  }

  /** Corrects `now()` by the database's clock as a statement returned it, ms since 1970. */
  observeClock(databaseMs: number): void {
    // The reading is late by the time that the answer took to arrive; no correction is made for that.
    this.#clockOffsetMs = databaseMs - performance.now();
  }

  /**
   * Runs one transaction. Every statement in `body` must be awaited. When the deadline passes or the
   * connection is lost, the socket is destroyed: whether the COMMIT happened is then unknown.
   *
   * @throws ConnectionLost after the deadline; else what the driver throws
   */
  async transaction<T>(deadlineMs: number, body: (tx: Transaction) => Promise<T>): Promise<T> {
    return await this.#withDeadline(deadlineMs, async () => (await this.sql.begin(body)) as T);
  }

  /** Runs statements outside a transaction. @throws ConnectionLost after 20 s; else what the driver throws */
  async run<T>(body: (sql: Database) => Promise<T>): Promise<T> {
    return await this.#withDeadline(HOUSEKEEPING_DEADLINE_MS, () => body(this.sql));
  }

  /** Ends the connection at once, without waiting for statements in flight. */
  destroy(): void {
    this.#onLost = undefined;
    this.#break();
  }

  /** Closes gracefully: waits at most 2 s for statements in flight. */
  async close(): Promise<void> {
    this.#onLost = undefined;
    this.#isLost = true;
    await this.sql.end({ timeout: 2 });
    this.#socket.current?.destroy();
  }

  #break(): void {
    this.#markLost();
    this.#socket.current?.destroy();
    // Rejects the statements in the driver's queues.
    this.sql.end({ timeout: 0 }).catch(() => undefined);
  }

  #markLost(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#onLost?.();
  }

  async #withDeadline<T>(deadlineMs: number, body: () => Promise<T>): Promise<T> {
    if (this.#isLost) throw new ConnectionLost("the connection to PostgreSQL is lost");
    const deadline = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      deadline.reject(new ConnectionLost(`PostgreSQL has not answered within ${deadlineMs / 1000} s`));
      this.#break();
    }, deadlineMs);
    const work = body();
    // The loser of the race may still reject, and must not count as unhandled.
    work.catch(() => undefined);
    try {
      return await Promise.race([work, deadline.promise]);
    } catch (error) {
      // The driver notices a disconnect in two steps; a query issued in between never settles, so break now.
      if (isDisconnection(error)) this.#break();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #readServerInfo(): Promise<void> {
    await this.#withDeadline(HOUSEKEEPING_DEADLINE_MS, async () => {
      const [row] = await this.sql<[{ pid: number; now_ms: number }]>`
        select pg_backend_pid() as pid, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`;
      this.#backendPid = row.pid;
      this.observeClock(row.now_ms);
    });
  }
}

/** What the store needs of a session: enough for one that talks to something other than a server. */
export type StoreSession = Pick<
  Session,
  "sql" | "backendPid" | "isLost" | "now" | "observeClock" | "transaction" | "run" | "destroy" | "close"
>;

function limitsOf(role: SessionRole): postgres.Options<typeof TYPES>["connection"] {
  switch (role) {
    case "worker":
    case "main":
      return WAIT_LIMITS;
    case "console":
      return CONSOLE_LIMITS;
    case "check":
      return {};
  }
}

function sslOption({ sslMode, host }: DatabaseConfig): NonNullable<postgres.Options<typeof TYPES>["ssl"]> {
  switch (sslMode) {
    case "disable":
      return false;
    case "allow":
    case "prefer":
    case "require":
      return sslMode;
    case "verify-ca":
      return { rejectUnauthorized: true, checkServerIdentity: () => undefined };
    case "verify-full":
      return { rejectUnauthorized: true, servername: host };
  }
}

/** Opens the TCP socket, or the Unix socket for a host that is a path; the driver adds TLS. */
function openSocket(config: DatabaseConfig): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = config.host.startsWith("/")
      ? connect({ path: `${config.host}/.s.PGSQL.${config.port}` })
      : connect({ host: config.host, port: config.port, keepAlive: true, keepAliveInitialDelay: 10_000 });
    Object.assign(socket, { host: config.host, port: config.port });
    socket.setNoDelay(true);
    const onError = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(CONNECT_TIMEOUT_SECONDS * 1000, () =>
      onError(
        Object.assign(new Error(`no answer from ${config.host}:${config.port}`), { code: "CONNECT_TIMEOUT" }),
      ),
    );
    socket.once("error", onError);
    socket.once("connect", () => {
      socket.setTimeout(0);
      socket.removeListener("error", onError);
      resolve(socket);
    });
  });
}
