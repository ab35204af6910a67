// Opens sessions to the model of PostgreSQL, which behave as `Session` does to the store.

import type {
  Database,
  SessionOptions,
  SessionTransaction,
  StoreSession,
} from "../../../shared/store/session.ts";
import { applicationName } from "../../../shared/store/session-settings.ts";
import {
  ConnectionLost,
  isDisconnection,
  refusalOf,
  SessionRefused,
} from "../../../shared/store/sqlstate.ts";
import { Connection } from "./connection.ts";
import type { ModelClient } from "./model-client.ts";
import { makeSql } from "./model-sql.ts";
import type { Reply, Request } from "./request.ts";
import { DriverError } from "./server-error.ts";
import type { Answer } from "./statement.ts";
import { greetingStatement } from "./statements/session-statements.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const HOUSEKEEPING_DEADLINE_MS = 20_000;
const CLOSE_TIMEOUT_MS = 2000;

interface Pending {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

export class ModelSession implements StoreSession {
  readonly sql: Database;
  readonly #client: ModelClient;
  readonly #options: SessionOptions;
  readonly #connection: Connection;
  #onLost: (() => void) | undefined;
  #isLost = false;
  #backendPid = 0;
  #clockOffsetMs = 0;
  /** Requests in their order; the first one is sent. */
  readonly #queue: Pending[] = [];
  #onIdle: (() => void) | undefined;

  constructor(client: ModelClient, options: SessionOptions) {
    this.#client = client;
    this.#options = options;
    this.#connection = new Connection(client.server, client, {
      onReply: (reply) => this.#onReply(reply),
      onClosed: () => this.#break(),
    });
    this.sql = makeSql((request) => this.#request(request));
  }

  get backendPid(): number {
    return this.#backendPid;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  now(): number {
    return this.#client.server.nowMs() + this.#clockOffsetMs;
  }

  observeClock(databaseMs: number): void {
    this.#clockOffsetMs = databaseMs - this.#client.server.nowMs();
  }

  /** @throws what the driver throws for a connection that cannot be opened; ConnectionLost */
  async connect(): Promise<void> {
    try {
      await this.#accepted();
      await this.#greet();
    } catch (error) {
      this.destroy();
      throw refusalOf(error);
    }
    this.#onLost = this.#options.onLost;
  }

  async transaction<T>(deadlineMs: number, body: (tx: SessionTransaction) => Promise<T>): Promise<T> {
    return await this.#withDeadline(
      deadlineMs,
      async () => (await this.sql.begin((tx) => body(tx as SessionTransaction))) as T,
    );
  }

  async run<T>(body: (sql: Database) => Promise<T>): Promise<T> {
    return await this.#withDeadline(HOUSEKEEPING_DEADLINE_MS, () => body(this.sql));
  }

  destroy(): void {
    this.#onLost = undefined;
    this.#break();
  }

  /** The process has died: its connection ends, and none of its code runs any more. */
  vanish(): void {
    this.#connection.close();
  }

  async close(): Promise<void> {
    this.#onLost = undefined;
    this.#isLost = true;
    if (this.#queue.length > 0) {
      const idle = Promise.withResolvers<void>();
      this.#onIdle = idle.resolve;
      const timer = this.#client.after(CLOSE_TIMEOUT_MS, idle.resolve);
      await idle.promise;
      timer.cancel();
    }
    this.#break();
  }

  /** Waits for the server to accept the connection. */
  #accepted(): Promise<void> {
    const { server } = this.#client;
    const { role, consumerGroup } = this.#options;
    const accepted = Promise.withResolvers<void>();
    const timer = this.#client.after(CONNECT_TIMEOUT_MS, () =>
      accepted.reject(new DriverError("CONNECT_TIMEOUT")),
    );
    server.after(server.latencyMs(), () => {
      let error: unknown;
      try {
        this.#connection.backend = server.accept(
          this.#connection,
          applicationName(role, consumerGroup),
          role !== "worker",
        );
      } catch (refusal) {
        error = refusal;
      }
      // The client may have given up meanwhile; then the backend reads the end of the connection.
      if (this.#isLost) return this.#connection.backend?.receive("end of connection");
      this.#client.after(server.latencyMs(), () => {
        timer.cancel();
        if (error === undefined) accepted.resolve();
        else accepted.reject(error);
      });
    });
    return accepted.promise;
  }

  async #greet(): Promise<void> {
    await this.#withDeadline(HOUSEKEEPING_DEADLINE_MS, async () => {
      const [row] = await this.sql.unsafe<[{ pid: number; now_ms: number; transaction_read_only: string }]>(
        greetingStatement.text,
      );
      if (row.transaction_read_only === "on")
        throw new SessionRefused("connection", "the database is read-only; waiting until it can be written");
      this.#backendPid = row.pid;
      this.observeClock(row.now_ms);
    });
  }

  async #withDeadline<T>(deadlineMs: number, body: () => Promise<T>): Promise<T> {
    if (this.#isLost) throw new ConnectionLost("the connection to PostgreSQL is lost");
    const deadline = Promise.withResolvers<never>();
    const timer = this.#client.after(deadlineMs, () => {
      deadline.reject(new ConnectionLost(`PostgreSQL has not answered within ${deadlineMs / 1000} s`));
      this.#break();
    });
    const work = body();
    work.catch(() => undefined);
    try {
      return await Promise.race([work, deadline.promise]);
    } catch (error) {
      if (isDisconnection(error)) this.#break();
      throw error;
    } finally {
      timer.cancel();
    }
  }

  #request(request: Request): Promise<Answer> {
    if (this.#isLost) return Promise.reject(new DriverError("CONNECTION_CLOSED"));
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, resolve, reject });
      if (this.#queue.length === 1) this.#connection.send(request);
      if (request.kind === "copy") this.#client.onCopy?.();
    });
  }

  #onReply(reply: Reply): void {
    const answered = this.#queue.shift();
    if (reply.kind === "answer") answered?.resolve(reply.answer);
    else answered?.reject(reply.error);
    const [next] = this.#queue;
    if (next !== undefined) this.#connection.send(next.request);
    else this.#onIdle?.();
  }

  #break(): void {
    this.#client.forget(this);
    this.#connection.close();
    if (!this.#isLost) {
      this.#isLost = true;
      this.#onLost?.();
    }
    for (const { reject } of this.#queue.splice(0)) reject(new DriverError("CONNECTION_CLOSED"));
  }
}
