// Models a PostgreSQL server in memory: sessions, transactions, locks, commits, and everything that can go wrong.

import { Backend } from "./backend.ts";
import { CommitLog } from "./commit-log.ts";
import type { Connection } from "./connection.ts";
import { ModelClient } from "./model-client.ts";
import type { PostgresModelOptions } from "./model-options.ts";
import type { Scheduler, Timer } from "./scheduler.ts";
import { TimeGate } from "./time-gate.ts";
import { DriverError, serverError } from "./server-error.ts";
import type { ServerTransaction } from "./server-transaction.ts";
import type { StatementContext } from "./statement.ts";
import { StatementFaults } from "./statement-faults.ts";
import { type CommittedTransaction, Tables } from "./tables.ts";

const DEFAULTS = { maxConnections: 100, deadlockTimeoutMs: 1000 } as const;
const DEFAULT_LATENCY_MS = { from: 0.1, to: 1.5 } as const;
/** tcp_keepalives_idle, and three intervals. */
const KEEPALIVE_MS = 25_000;

/** One server with one database. A client is a process that uses it, see `client()`. */
export class PostgresModel {
  readonly tables: Tables;
  readonly options: PostgresModelOptions;
  readonly faults = new StatementFaults();
  readonly scheduler: Scheduler;
  readonly #log = new CommitLog();
  readonly #backends = new Map<number, Backend>();
  #nextPid = 101;
  #clockShiftMs = 0;
  #latency: { readonly from: number; readonly to: number } = DEFAULT_LATENCY_MS;
  /** Why connections are refused, by the driver's or the server's code; undefined: they are not. */
  #refusal: string | undefined;
  readonly #gate: TimeGate;

  constructor(
    scheduler: Scheduler,
    options: Pick<PostgresModelOptions, "consumerGroup" | "epochMs"> & Partial<PostgresModelOptions>,
  ) {
    this.scheduler = scheduler;
    this.#gate = new TimeGate(scheduler);
    this.options = { ...DEFAULTS, ...options };
    this.tables = new Tables(options.consumerGroup);
  }

  /** @param process the process that opens the sessions; it may be stopped */
  client(process: Scheduler = this.scheduler): ModelClient {
    return new ModelClient(this, process);
  }

  /** The process ids of all backends. */
  get backendPids(): number[] {
    return [...this.#backends.keys()];
  }

  backend(pid: number): Backend | undefined {
    return this.#backends.get(pid);
  }

  /** The server dies: all transactions in flight end, and the last commits may be lost. It stays down until `start`. */
  crash({ lostTransactions }: { readonly lostTransactions: number }): readonly CommittedTransaction[] {
    this.#endAll(undefined);
    this.#refusal = "ECONNREFUSED";
    const lost = this.#log.lose(lostTransactions, this.nowMs(), this.tables);
    this.#bite(`crash${lost.length > 0 ? " that lost transactions" : ""}`, `${lost.length} commits are lost`);
    if (lost.length > 0) this.options.onLost?.(this.tables, lost);
    return lost;
  }

  /**
   * The server dies, and a standby takes over that may lack the last commits. A proxy keeps the idle sessions, which
   * go on in other backends; the others end.
   */
  failOver({ lostTransactions }: { readonly lostTransactions: number }): void {
    for (const backend of this.#backends.values().toArray()) {
      if (!backend.isIdle) {
        backend.end(undefined);
        continue;
      }
      this.#backends.delete(backend.pid);
      backend.pid = this.#nextPid++;
      this.#backends.set(backend.pid, backend);
    }
    const lost = this.#log.lose(lostTransactions, this.nowMs(), this.tables);
    this.#bite("failover", `${lost.length} commits are lost`);
    if (lost.length > 0) this.options.onLost?.(this.tables, lost);
  }

  /** The server is stopped in good order: transactions in flight end, nothing committed is lost. */
  stop(): void {
    this.#bite("stop");
    this.#endAll("57P01");
    this.#log.flush();
    this.#refusal = "ECONNREFUSED";
  }

  /** The server accepts connections. */
  start(): void {
    this.trace(() => "PostgreSQL accepts connections");
    this.#refusal = undefined;
  }

  /** @param code of the driver (ECONNREFUSED) or of the server (53300, 57P03, 28P01) */
  refuseConnections(code: string): void {
    this.#bite(`connections refused ${code}`);
    this.#refusal = code;
  }

  /** Nothing answers, and no timeout of the server runs. */
  freeze(): void {
    this.#bite("freeze");
    this.#gate.close();
  }

  thaw(): void {
    if (this.#gate.isClosed) this.trace(() => "PostgreSQL goes on");
    this.#gate.open();
  }

  /** pg_terminate_backend. */
  terminate(pid: number): void {
    const backend = this.#backends.get(pid);
    if (backend === undefined) return;
    this.#bite("terminate", `backend ${pid}`);
    backend.end("57P01");
  }

  /** The network resets a connection. */
  cut(pid: number): void {
    this.#bite("cut", `backend ${pid}`);
    this.#backends.get(pid)?.connection.cut(this.scheduler.random() < 0.5);
  }

  /** The network loses everything on a connection; the server finds out after its keepalive. */
  silence(pid: number): void {
    const backend = this.#backends.get(pid);
    if (backend === undefined) return;
    this.#bite("silence", `backend ${pid}`);
    backend.connection.silence();
    this.after(KEEPALIVE_MS, () => backend.end(undefined));
  }

  /** The time that a message takes, ms; every message takes a random time in between. */
  setLatency(from: number, to: number): void {
    this.#latency = { from, to };
  }

  /** Moves the database's clock. */
  shiftClock(ms: number): void {
    this.#bite("clock shift", `by ${ms} ms`);
    this.#clockShiftMs += ms;
  }

  /** Ends every fault; what is down or frozen goes on. */
  heal(): void {
    this.faults.clear();
    this.#latency = DEFAULT_LATENCY_MS;
    this.start();
    this.thaw();
  }

  nowMs(): number {
    return this.scheduler.nowMs();
  }

  /** The database's clock, ms since 1970. */
  clockMs(): number {
    return this.options.epochMs + this.#clockShiftMs + this.nowMs();
  }

  latencyMs(): number {
    const { from, to } = this.#latency;
    return from + (to - from) * this.scheduler.random();
  }

  /** After how many locks a statement takes a moment: one in a few does, so that two of them can lock in turns. */
  locksUntilPause(): number {
    return this.scheduler.random() < 0.25 ? 1 + Math.floor(this.scheduler.random() * 4) : Infinity;
  }

  /** How long such a moment is, ms; some are much longer than what others do meanwhile. */
  pauseMs(): number {
    return this.latencyMs() * 4 * this.scheduler.random();
  }

  /** Runs something of the server; while the server is frozen it waits. */
  after(ms: number, run: () => void): Timer {
    if (ms === Infinity) return { cancel: () => undefined };
    return this.#gate.after(ms, run);
  }

  trace(text: () => string): void {
    this.options.trace?.(text());
  }

  /** Opens a backend for a connection. @throws DriverError, ServerError */
  accept(connection: Connection, applicationName: string, isSynchronous: boolean): Backend {
    if (this.#refusal !== undefined) {
      throw /^[0-9A-Z]{5}$/.test(this.#refusal) ? serverError(this.#refusal) : new DriverError(this.#refusal);
    }
    if (this.#backends.size >= this.options.maxConnections) throw serverError("53300");
    const backend = new Backend(this, connection, this.#nextPid++, applicationName, isSynchronous);
    this.#backends.set(backend.pid, backend);
    return backend;
  }

  forget(backend: Backend): void {
    this.#backends.delete(backend.pid);
  }

  commit(backend: Backend, transaction: ServerTransaction, isSynchronous: boolean): void {
    const changes = transaction.commit();
    if (changes.length === 0) return;
    const committed = this.#log.add({ backendPid: backend.pid, atMs: this.nowMs(), changes }, isSynchronous);
    this.options.onCommit?.(this.tables, committed);
  }

  onDeadlock(transactions: readonly ServerTransaction[]): void {
    const members = transactions.map(({ host, isInSavepoint }) => ({
      backendPid: host.pid,
      statement: host.statementName,
      isInSavepoint,
    }));
    this.#bite(
      "deadlock",
      members.map(({ backendPid, statement }) => `${statement} of backend ${backendPid}`).join(", "),
    );
    this.options.onDeadlock?.(members);
  }

  contextOf(backend: Backend, transaction: ServerTransaction, parts: ReadonlySet<string>): StatementContext {
    return {
      transaction,
      tables: this.tables,
      backendPid: backend.pid,
      parts,
      clockMs: () => this.clockMs(),
      stuckPeers: (prefixes, seconds) => this.#stuckPeers(backend, prefixes, seconds),
      sessions: (prefix) =>
        this.backendPids.filter((pid) => this.#backends.get(pid)?.applicationName.startsWith(prefix)),
      terminate: (pid) => this.terminate(pid),
      setLockTimeout: (ms) => (backend.lockTimeoutMs = ms),
    };
  }

  #stuckPeers(self: Backend, prefixes: readonly string[], seconds: number): number[] {
    const since = this.clockMs() - seconds * 1000;
    return [...this.#backends.values()]
      .filter((backend) => backend !== self && backend.hasWaitedForClientSince(since))
      .filter(({ applicationName }) => prefixes.some((prefix) => applicationName.startsWith(prefix)))
      .map(({ pid }) => pid);
  }

  #endAll(code: string | undefined): void {
    // A frozen server is killed or stopped as well: what it had not read yet is lost with its connections.
    this.#gate.open();
    for (const backend of this.#backends.values()) backend.end(code);
  }

  #bite(what: string, detail?: string): void {
    this.faults.count(what);
    this.trace(() => `PostgreSQL: ${what}${detail === undefined ? "" : `, ${detail}`}`);
  }
}
