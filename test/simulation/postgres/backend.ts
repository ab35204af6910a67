// Executes the requests of one session, one after the other, as a backend process of PostgreSQL does.

import type { Connection } from "./connection.ts";
import type { KnownStatement } from "./known-statements.ts";
import type { PostgresModel } from "./postgres-model.ts";
import { describeRequest, type Request } from "./request.ts";
import type { Timer } from "./scheduler.ts";
import { serverError, ServerError } from "./server-error.ts";
import { ServerTransaction, type TransactionHost } from "./server-transaction.ts";
import { type Answer, NOTHING, type Parameters } from "./statement.ts";

const STATEMENT_TIMEOUT_MS = 60_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 10_000;

export class Backend implements TransactionHost {
  pid: number;
  readonly applicationName: string;
  readonly connection: Connection;
  lockTimeoutMs = LOCK_TIMEOUT_MS;
  readonly #server: PostgresModel;
  readonly #isSynchronous: boolean;
  readonly #inbox: (Request | "end of connection")[] = [];
  #isBusy = false;
  #hasEnded = false;
  #transaction: ServerTransaction | undefined;
  /** The COPY whose data the client has not sent yet. */
  #copy: KnownStatement | undefined;
  #idleTimer: Timer | undefined;
  /** What it executes, or has executed last. */
  statementName = "";
  /** When it last began to wait for its client or to work, by the database's clock. */
  #changedAtMs: number;

  /** @param isSynchronous whether its COMMITs wait for the disk */
  constructor(
    server: PostgresModel,
    connection: Connection,
    pid: number,
    applicationName: string,
    isSynchronous: boolean,
  ) {
    this.#server = server;
    this.connection = connection;
    this.pid = pid;
    this.applicationName = applicationName;
    this.#isSynchronous = isSynchronous;
    this.#changedAtMs = server.clockMs();
  }

  get deadlockTimeoutMs(): number {
    return this.#server.options.deadlockTimeoutMs;
  }

  get transaction(): ServerTransaction | undefined {
    return this.#transaction;
  }

  /** True while it waits for its client outside of a transaction. */
  get isIdle(): boolean {
    return this.#transaction === undefined && !this.#isBusy;
  }

  /** True while it waits for its client in the middle of a transaction, since before this moment of the database's clock. */
  hasWaitedForClientSince(clockMs: number): boolean {
    const isWaiting = this.#transaction !== undefined && !this.#isBusy;
    return isWaiting && this.#changedAtMs < clockMs;
  }

  pause(ms: number = this.#server.pauseMs()): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  onDeadlock(members: readonly ServerTransaction[]): void {
    this.#server.onDeadlock(members);
  }

  after(ms: number, run: () => void): Timer {
    return this.#server.after(ms, run);
  }

  receive(request: Request | "end of connection"): void {
    if (this.#hasEnded) return;
    this.#inbox.push(request);
    if (!this.#isBusy) void this.#work();
  }

  /** Ends it, with its transaction. @param code told to the client where it waits for an answer; undefined: nothing is */
  end(code: string | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#idleTimer?.cancel();
    const transaction = this.#transaction;
    this.#transaction = undefined;
    transaction?.cancelWait(serverError(code ?? "57P02"));
    transaction?.rollback();
    if (this.#isBusy && code !== undefined)
      this.connection.reply({ kind: "error", error: serverError(code) });
    this.connection.closedByServer();
    this.#server.forget(this);
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    this.#idleTimer?.cancel();
    for (let request = this.#inbox.shift(); request !== undefined; request = this.#inbox.shift()) {
      this.#changedAtMs = this.#server.clockMs();
      if (request === "end of connection") return this.end(undefined);
      await this.#serve(request);
      if (this.#hasEnded) return;
    }
    this.#isBusy = false;
    this.#changedAtMs = this.#server.clockMs();
    // The timeout does not reach a backend that waits for COPY data.
    if (this.#transaction === undefined || this.#copy !== undefined) return;
    this.#idleTimer = this.after(IDLE_IN_TRANSACTION_TIMEOUT_MS, () => this.end("25P03"));
  }

  async #serve(request: Request): Promise<void> {
    let answer: Answer | "dropped";
    try {
      answer = await this.#execute(request);
    } catch (error) {
      if (this.#hasEnded) return;
      this.#server.trace(() => `${this.#who}: ${describeRequest(request)} fails: ${String(error)}`);
      this.connection.reply({ kind: "error", error: error as Error });
      return;
    }
    if (this.#hasEnded || answer === "dropped") return;
    this.#server.trace(() => `${this.#who}: ${describeRequest(request)}`);
    this.connection.reply({ kind: "answer", answer });
  }

  async #execute(request: Request): Promise<Answer | "dropped"> {
    switch (request.kind) {
      case "begin":
        // The driver would let it wait for the end of the other one; no session of the program does that.
        if (this.#transaction !== undefined) throw new Error("a transaction of this session is open already");
        this.#transaction = this.#begin();
        return NOTHING;
      case "commit":
        return await this.#commit();
      case "rollback":
        this.#transaction?.rollback();
        this.#transaction = undefined;
        return NOTHING;
      case "savepoint":
        this.#sound().savepoint(request.name);
        return NOTHING;
      case "rollback to":
        this.#transaction?.rollbackTo(request.name);
        return NOTHING;
      case "statement":
        return await this.#statement(request.known, request.parameters);
      case "copy":
        this.#check(request.known, this.#sound());
        this.#copy = request.known;
        return NOTHING;
      case "copy data": {
        const copy = this.#copy!;
        this.#copy = undefined;
        return await this.#run(copy, [request.bytes], this.#sound());
      }
    }
  }

  #begin(): ServerTransaction {
    return new ServerTransaction(this, this.#server.clockMs(), this.#server.faults.isReadOnly);
  }

  /** The open transaction. @throws ServerError 25P02 after an error in it */
  #sound(): ServerTransaction {
    if (this.#transaction === undefined) throw new Error("there is no transaction");
    if (this.#transaction.hasFailed) throw serverError("25P02");
    return this.#transaction;
  }

  async #statement(known: KnownStatement, parameters: Parameters): Promise<Answer> {
    if (this.#transaction !== undefined) return await this.#run(known, parameters, this.#sound());
    const transaction = (this.#transaction = this.#begin());
    try {
      const answer = await this.#run(known, parameters, transaction);
      // It holds its locks for a moment more.
      await this.pause();
      if (!this.#hasEnded) this.#server.commit(this, transaction, this.#isSynchronous);
      return answer;
    } catch (error) {
      transaction.rollback();
      throw error;
    } finally {
      this.#transaction = undefined;
    }
  }

  async #run(known: KnownStatement, parameters: Parameters, transaction: ServerTransaction): Promise<Answer> {
    this.statementName = known.statement.name;
    transaction.locksUntilPause = this.#server.locksUntilPause();
    this.#check(known, transaction);
    const timer = this.after(STATEMENT_TIMEOUT_MS, () => transaction.cancelWait(serverError("57014")));
    try {
      return await known.statement.run(this.#server.contextOf(this, transaction, known.parts), parameters);
    } catch (error) {
      transaction.fail();
      if (error instanceof ServerError) this.#server.faults.count(`error ${error.code}`);
      throw error;
    } finally {
      timer.cancel();
    }
  }

  #check({ statement }: KnownStatement, transaction: ServerTransaction): void {
    const error = this.#server.faults.errorFor(statement, transaction);
    if (error === undefined) return;
    transaction.fail();
    throw error;
  }

  async #commit(): Promise<Answer | "dropped"> {
    const transaction = this.#transaction;
    if (transaction === undefined) return NOTHING;
    if (transaction.hasFailed) {
      transaction.rollback();
    } else {
      const { lostAnswer, delayMs } = this.#server.faults.takeCommitFault();
      if (delayMs > 0) await this.pause(delayMs);
      if (this.#hasEnded) return "dropped";
      if (lostAnswer?.connection === "closed") this.#server.cut(this.pid);
      if (lostAnswer?.connection === "silent") this.#server.silence(this.pid);
      // A COMMIT that never arrives leaves the transaction open, until the backend finds out.
      if (lostAnswer?.isApplied === false) return "dropped";
      this.#server.commit(this, transaction, this.#isSynchronous);
    }
    this.#transaction = undefined;
    return NOTHING;
  }

  get #who(): string {
    return `backend ${this.pid}`;
  }
}
