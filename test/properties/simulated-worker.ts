// Simulates a partition worker without Kafka: it builds batches of a topic scenario and commits them to PostgreSQL.

import { Batch } from "../../shared/pipeline/batch.ts";
import { FenceFailed } from "../../shared/store/offsets.ts";
import { enterPartitions, readPositions } from "../../shared/store/positions.ts";
import type { Session } from "../../shared/store/session.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { addRecord, NOW_MS, SKEW_MS } from "../pipeline/record.ts";
import { openSession, partitionKey, STORE_OPTIONS } from "../store/pipeline-database.ts";
import type { TopicScenario } from "./arbitrary-topic.ts";

/** Commits batches: the Store, or a mutant of it. */
export interface Committer {
  commit(batch: Batch): Promise<unknown>;
}

/** How a commit ended, as the worker sees it. */
export type Outcome = "nothing" | "committed" | "fence" | "transient" | "connection";

/** What goes wrong while a batch is committed. */
export type Fault =
  | { readonly kind: "none" }
  /** The worker dies after it has built the batch and before it commits. */
  | { readonly kind: "crash" }
  /** The backend is terminated this many ms after the commit began; the outcome is unknown. */
  | { readonly kind: "kill"; readonly afterMs: number }
  /** The COMMIT happens, and its answer is lost. */
  | { readonly kind: "lost answer" };

export interface SimulatedWorkerOptions {
  readonly saveRawEvents: boolean;
  readonly makeCommitter?: (session: Session) => Committer;
}

/**
 * A partition worker without Kafka: it owns partitions, knows their next offsets, builds one batch ahead of the one
 * in flight, and resyncs after every fault.
 */
export class SimulatedWorker {
  readonly #database: TestDatabase;
  readonly #scenario: TopicScenario;
  readonly #options: SimulatedWorkerOptions;
  #session: Session;
  #committer: Committer;
  /** Where the next batch of a partition begins; undefined: the stored offset has to be read first. */
  readonly #next = new Map<number, number | undefined>();
  #builtAhead: Batch | undefined;

  private constructor(
    database: TestDatabase,
    scenario: TopicScenario,
    options: SimulatedWorkerOptions,
    session: Session,
  ) {
    this.#database = database;
    this.#scenario = scenario;
    this.#options = options;
    this.#session = session;
    this.#committer = this.#makeCommitter();
  }

  /** @param session of an earlier run, to save the login */
  static async start(
    database: TestDatabase,
    scenario: TopicScenario,
    options: SimulatedWorkerOptions,
    session?: Session,
  ): Promise<SimulatedWorker> {
    const usable = session === undefined || session.isLost ? await openSession(database) : session;
    return new SimulatedWorker(database, scenario, options, usable);
  }

  get session(): Session {
    return this.#session;
  }

  assign(partition: number): void {
    this.#next.set(partition, undefined);
  }

  /** Releases a partition; its records that are not in a transaction yet are dropped. */
  revoke(partition: number): void {
    this.#next.delete(partition);
    this.#builtAhead?.drop([partition]);
  }

  /** @param how whether the connection is replaced too */
  async resync(how: "same connection" | "new connection"): Promise<void> {
    this.#builtAhead = undefined;
    for (const partition of this.#next.keys()) this.#next.set(partition, undefined);
    if (how === "new connection" || this.#session.isLost) {
      this.#session.destroy();
      this.#session = await openSession(this.#database);
    }
    this.#committer = this.#makeCommitter();
  }

  /**
   * Builds a batch of the picked partitions' next records, unless one was built ahead, and commits it.
   * @param picks the partition of each record, as an index into the worker's partitions, in the order of delivery
   * @param ahead the same for the next batch, which is built while the transaction is in flight
   * @param clockMs how far the database's clock has advanced, ms
   */
  async commit(
    picks: readonly number[],
    ahead: readonly number[],
    clockMs: number,
    fault: Fault,
  ): Promise<Outcome> {
    const outcome = await this.#tryCommit(picks, ahead, clockMs, fault);
    const isBroken = outcome !== "committed" && outcome !== "nothing";
    if (isBroken) await this.resync(outcome === "connection" ? "new connection" : "same connection");
    return outcome;
  }

  async #tryCommit(
    picks: readonly number[],
    ahead: readonly number[],
    clockMs: number,
    fault: Fault,
  ): Promise<Outcome> {
    let killing: Promise<unknown> | undefined;
    try {
      await this.#placePartitions();
      const batch = this.#builtAhead ?? this.#build(picks, clockMs);
      this.#builtAhead = undefined;
      if (batch.spans.size === 0) return "nothing";
      if (fault.kind === "crash") return "connection";
      const isStale = await this.#isStale(batch);
      const commit = this.#committer.commit(batch);
      if (fault.kind === "kill") killing = this.#killAfter(fault.afterMs);
      if (ahead.length > 0) this.#builtAhead = this.#build(ahead, clockMs + 1);
      await commit;
      if (isStale && this.#options.makeCommitter === undefined)
        throw new Error("a stale batch was committed");
      return fault.kind === "lost answer" ? "connection" : "committed";
    } catch (error) {
      if (error instanceof FenceFailed) return "fence";
      const kind = classify(error);
      if (kind === "transient" || kind === "connection") return kind;
      // Any other error is a bug.
      throw error;
    } finally {
      await killing;
    }
  }

  /** True where a stored offset has passed the batch's beginning: offsets only grow, so the batch stays stale. */
  async #isStale(batch: Batch): Promise<boolean> {
    const rows = await this.#database.sql<{ partition: number; next: number }[]>`
      select partition, next_offset::float8 as next from pipeline_offsets`;
    const stored = new Map(rows.map(({ partition, next }) => [partition, next]));
    return [...batch.spans.values()].some(({ partition, from }) => stored.get(partition) !== from);
  }

  async #killAfter(ms: number): Promise<void> {
    const { backendPid } = this.#session;
    await Bun.sleep(ms);
    await this.#database.sql`select pg_terminate_backend(${backendPid})`;
  }

  /** True where every record of the worker's partitions is consumed, as far as it knows. */
  isDone(): boolean {
    return (
      this.#builtAhead === undefined &&
      [...this.#next].every(
        ([partition, next]) =>
          next !== undefined && next > (this.#scenario.partitions[partition]!.at(-1)?.offset ?? -1),
      )
    );
  }

  async #placePartitions(): Promise<void> {
    const unknown = [...this.#next]
      .filter(([, next]) => next === undefined)
      .map(([partition]) => partitionKey(partition));
    if (unknown.length === 0) return;
    const starts = unknown.map((key) => ({ ...key, nextOffset: this.#scenario.beginnings[key.partition]! }));
    await this.#session.run((sql) => enterPartitions(sql, starts));
    const positions = await this.#session.run((sql) => readPositions(sql, unknown));
    for (const [index, { partition }] of unknown.entries()) {
      const position = positions[index];
      this.#next.set(partition, position?.kind === "stored" ? position.nextOffset : undefined);
    }
  }

  #build(picks: readonly number[], clockMs: number): Batch {
    const batch = new Batch(Math.max(1, picks.length));
    batch.open({ processedAtMs: NOW_MS + clockMs, maxFutureSkewMs: SKEW_MS }, 0);
    const taken = new Map<number, number>();
    const own = [...this.#next.keys()].toSorted((a, b) => a - b);
    for (const pick of own.length === 0 ? [] : picks) {
      const partition = own[pick % own.length]!;
      const from = taken.get(partition) ?? this.#next.get(partition);
      if (from === undefined) continue;
      const record = this.#scenario.partitions[partition]!.find(({ offset }) => offset >= from);
      if (record === undefined) continue;
      addRecord(batch.block, { ...record, slot: partition });
      taken.set(partition, record.offset + 1);
    }
    batch.read((partition) => ({ ...partitionKey(partition), from: this.#next.get(partition)! }));
    for (const [partition, to] of taken) this.#next.set(partition, to);
    return batch;
  }

  #makeCommitter(): Committer {
    const { saveRawEvents, makeCommitter } = this.#options;
    return makeCommitter?.(this.#session) ?? new Store(this.#session, { ...STORE_OPTIONS, saveRawEvents });
  }
}
