// Opens one connection to PostgreSQL that is never renewed silently.

import type { Socket } from "node:net";
import postgres, { type Sql, type TransactionSql } from "postgres";
import type { DatabaseConfig } from "../config/config.ts";
import { readSecretFile } from "../config/environment.ts";
import { errorMessage } from "../runtime/errors.ts";
import { runSecretCommand } from "../runtime/secret-command.ts";
import { copyIn } from "./copy-in.ts";
import { suppressRollbackAfterDisconnect } from "./driver-workarounds.ts";
import { openServerSocket } from "./server-socket.ts";
import {
  applicationName,
  assertFit,
  type Greeting,
  greetingStatement,
  type SessionRole,
} from "./session-settings.ts";
import { ConnectionLost, DeadlineExceeded, isDisconnection, refusalOf, SessionRefused } from "./sqlstate.ts";

/** Parsers that differ from the driver's: int8 as number (counts and offsets stay below 2^53). */
const TYPES = {
  bigint: { to: 20, from: [20], parse: Number, serialize: String },
} satisfies Record<string, postgres.PostgresType<number>>;
export type Transaction = TransactionSql<{ bigint: number }>;
/** A transaction of `Session.transaction`. */
export type SessionTransaction = Transaction & {
  /** Begins a COPY … FROM STDIN and sends its input, see copy-in.ts. */
  copyIn(statement: string, input: Uint8Array): Promise<void>;
};
export type Database = Sql<{ bigint: number }>;

const CONNECT_TIMEOUT_SECONDS = 10;
const HOUSEKEEPING_DEADLINE_MS = 20_000;
const CLOSED_EARLY = "the server has closed the connection before the session was open";

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
  #isPooled = false;
  /** Database clock minus our monotonic clock, ms. */
  #clockOffsetMs = 0;

  private constructor(sql: Database, socket: { current: Socket | undefined }) {
    this.sql = sql;
    this.#socket = socket;
  }

  /**
   * Connects, sets what the session needs, and reads the database's clock.
   * @throws SessionRefused for a server that is not fit; else what the driver throws, see `classify`. No connection stays
   * open then
   */
  static async open(config: DatabaseConfig, options: SessionOptions): Promise<Session> {
    const socket: { current: Socket | undefined } = { current: undefined };
    let password = "";
    const driverOptions: postgres.Options<typeof TYPES> & { socket: () => Promise<Socket> } = {
      host: config.host,
      port: config.port,
      database: config.name,
      username: config.user,
      // As a function, or the driver would take PGPASSWORD for an empty one.
      password: () => password,
      max: 1,
      max_lifetime: null,
      idle_timeout: 0,
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      fetch_types: false,
      // We open the socket, because only destroying it ends a transaction when the server does not answer. A session
      // has one socket: the driver would reconnect for a statement that waits in its queue.
      socket: async () => {
        if (socket.current !== undefined) {
          throw new ConnectionLost(
            session.#backendPid === 0 ? CLOSED_EARLY : "the connection to PostgreSQL is lost",
          );
        }
        const opened = await openServerSocket(config);
        socket.current = opened;
        // Without a listener an error would end the process; the driver comes with its own later.
        opened.on("error", () => undefined);
        // Not before there is a server: a command may be slow, and ask another service.
        password = await passwordOf(config);
        if (opened.destroyed) throw new ConnectionLost(CLOSED_EARLY);
        return opened;
      },
      types: TYPES,
      connection: { application_name: applicationName(options.role, options.consumerGroup) },
      onnotice: () => undefined,
      onclose: () => session.#markLost(),
    };
    const sql: Database = postgres(driverOptions);
    const session = new Session(sql, socket);
    suppressRollbackAfterDisconnect(sql, () => session.isLost);
    try {
      await session.#greet(options);
    } catch (error) {
      session.destroy();
      throw refusalOf(error);
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

  /** True where a pooler answers: it has given the driver another process id than the backend's. */
  get isPooled(): boolean {
    return this.#isPooled;
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
   * @throws DeadlineExceeded; else what the driver throws
   */
  async transaction<T>(deadlineMs: number, body: (tx: SessionTransaction) => Promise<T>): Promise<T> {
    const withCopy = async (tx: Transaction): Promise<T> => {
      const copy = async (statement: string, input: Uint8Array): Promise<void> =>
        await copyIn(tx, this.#socket.current!, statement, input);
      return await body(Object.assign(tx, { copyIn: copy }));
    };
    return await this.#withDeadline(deadlineMs, async () => (await this.sql.begin(withCopy)) as T);
  }

  /** Runs statements outside a transaction. @throws DeadlineExceeded after 20 s; else what the driver throws */
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
      deadline.reject(new DeadlineExceeded(`PostgreSQL has not answered within ${deadlineMs / 1000} s`));
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

  async #greet({ role, consumerGroup }: SessionOptions): Promise<void> {
    await this.#withDeadline(HOUSEKEEPING_DEADLINE_MS, async () => {
      const answer = await this.sql.unsafe<[Greeting]>(greetingStatement(role, consumerGroup));
      const [greeting] = answer;
      assertFit(greeting, role, consumerGroup);
      this.#backendPid = greeting.pid;
      this.#isPooled = answer.state.pid !== greeting.pid;
      this.observeClock(greeting.now_ms);
    });
  }
}

/** What the store needs of a session: enough for one that talks to something other than a server. */
export type StoreSession = Pick<
  Session,
  "sql" | "backendPid" | "isLost" | "now" | "observeClock" | "transaction" | "run" | "destroy" | "close"
>;

/** @throws SessionRefused where the password cannot be had */
async function passwordOf({ password, passwordFile, passwordCommand }: DatabaseConfig): Promise<string> {
  if (passwordCommand !== undefined) {
    try {
      return await runSecretCommand(passwordCommand);
    } catch (error) {
      throw new SessionRefused("access", `the command of DB_PASSWORD_COMMAND ${errorMessage(error)}`);
    }
  }
  if (passwordFile === undefined) return password;
  try {
    return readSecretFile(passwordFile);
  } catch (error) {
    throw new SessionRefused("access", `the file of DB_PASSWORD_FILE cannot be read: ${errorMessage(error)}`);
  }
}
