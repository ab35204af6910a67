// Commits batches to PostgreSQL: the effects and the offsets of a batch in one transaction, or none of them.

import type { HourDelta } from "../event.ts";
import { aggregate } from "../pipeline/aggregate.ts";
import type { Batch, BatchEvent } from "../pipeline/batch.ts";
import type { CommitReport } from "../pipeline/commit.ts";
import { KnownUsers } from "../pipeline/known-users.ts";
import { RecentIds } from "../pipeline/recent-ids.ts";
import { codeOf } from "../runtime/errors.ts";
import { type BatchLedger, OffsetLedger } from "./batch-ledger.ts";
import { type AddedToHours, addToHours } from "./hourly.ts";
import { StateChanged } from "./pipeline-state.ts";
import type { SessionTransaction, StoreSession } from "./session.ts";
import { findPoisonEvents } from "./poison-search.ts";
import { CopyFailed, RawEvents } from "./raw-events.ts";
import { classify } from "./sqlstate.ts";

/** The client's deadline for a transaction: a server that stands still does not run its own timeouts. */
const TRANSACTION_DEADLINE_MS = 30_000;

export interface StoreOptions {
  readonly saveRawEvents: boolean;
  /** False: raw events are inserted by unnest only, never by COPY. */
  readonly copyRawEvents: boolean;
  readonly hourGraceMs: number;
}

/**
 * Commits batches through one session, and remembers users, ids and offsets that they stored. The memory grows only
 * after a COMMIT was answered, and belongs to the session: a new session needs a new Store.
 */
export class Store {
  readonly #session: StoreSession;
  readonly #options: StoreOptions;
  readonly #rawEvents: RawEvents;
  readonly #users = new KnownUsers();
  /** Of pipeline_state, when the known users were stored. */
  #usersEpoch: number | undefined;
  readonly #recentIds = new RecentIds();
  readonly #offsets: OffsetLedger;

  constructor(session: StoreSession, options: StoreOptions) {
    this.#session = session;
    this.#options = options;
    this.#rawEvents = new RawEvents(options.copyRawEvents);
    this.#offsets = new OffsetLedger(session);
  }

  /**
   * Stores a batch. After a failed COPY it repeats the batch in a way that takes more, see `RawEvents`; events that
   * PostgreSQL refuses for their content become dead letters, and the batch is repeated without them. It is also repeated
   * where users were deleted meanwhile, or the retention's cut-off has risen.
   *
   * @param proof nothing is committed before it resolves; it settles within seconds, because locks are held meanwhile
   * @param ledger the accounts that the records belong to; by default the stored offsets
   * @throws FenceFailed, InvariantViolated, ConnectionLost, what the proof throws, or what the driver throws (see `classify`): then nothing is stored, unless
   *   only the answer to the COMMIT was lost, which leaves the outcome unknown
   */
  async commit(
    batch: Batch,
    proof: Promise<unknown> = Promise.resolve(),
    ledger: BatchLedger = this.#offsets,
  ): Promise<CommitReport> {
    let copyFailed = false;
    let sendsAllUsers = false;
    for (;;) {
      try {
        return { ...(await this.#tryCommit(batch, proof, ledger, sendsAllUsers)), copyFailed };
      } catch (error) {
        if (error instanceof StateChanged) {
          sendsAllUsers = true;
          continue;
        }
        if (error instanceof CopyFailed) {
          copyFailed = true;
          continue;
        }
        if (!(error instanceof RawInsertFailed)) throw error;
        if (classify(error.cause) !== "content") throw error.cause;
        const refused = await findPoisonEvents(this.#session, error.events, batch.clock.processedAtMs);
        // No event fails alone: the statement as a whole was refused, and no record is to blame.
        if (refused.size === 0) throw error.cause;
        batch.refuse([...refused.keys()], (event) => refused.get(event)!);
      }
    }
  }

  async #tryCommit(
    batch: Batch,
    proof: Promise<unknown>,
    ledger: BatchLedger,
    sendsAllUsers: boolean,
  ): Promise<Omit<CommitReport, "copyFailed">> {
    const { saveRawEvents, hourGraceMs } = this.#options;
    const { processedAtMs } = batch.clock;
    const startedAt = performance.now();
    const spans = [...batch.spans.values()];
    let stored: Int32Array = new Int32Array();
    let aggregationSeconds = 0;
    let added: AddedToHours = { createdTypes: [], newUsers: 0, lateEvents: 0 };
    let deltas: HourDelta[] = [];

    await this.#session.transaction(TRANSACTION_DEADLINE_MS, async (tx) => {
      const { usersEpoch, cutoffMs } = await ledger.open(tx, spans);
      if (usersEpoch !== this.#usersEpoch || sendsAllUsers) this.#users.clear();
      this.#usersEpoch = usersEpoch;
      if (cutoffMs !== undefined) batch.expire(cutoffMs);
      stored = saveRawEvents
        ? await this.#insertRawEvents(tx, batch, batch.distinct())
        : this.#dropRecent(batch);
      const aggregationStartedAt = performance.now();
      deltas = aggregate(batch.rows, stored, this.#users, {
        processedAtMs,
        hourGraceMs,
        unsaved: !saveRawEvents,
      });
      aggregationSeconds = secondsSince(aggregationStartedAt);
      await ledger.record(tx, batch, stored);
      added = await addToHours(tx, deltas);
      batch.countStored(stored);
      // With all users sent, it does not matter which of them were deleted meanwhile.
      await ledger.close(tx, spans, { usersEpoch: sendsAllUsers ? undefined : usersEpoch, cutoffMs });
      await proof;
    });

    this.#users.committed(deltas);
    if (!saveRawEvents) this.#recentIds.committed(Array.from(stored, (row) => batch.rows.eventId(row)));
    ledger.committed(spans);
    return {
      stored,
      deltas,
      createdHours: added.createdTypes,
      newUsers: added.newUsers,
      lateEvents: added.lateEvents,
      rawRows: saveRawEvents ? stored.length : 0,
      committedAtMs: this.#session.now(),
      aggregationSeconds,
      transactionSeconds: secondsSince(startedAt),
    };
  }

  /** Inserts events and returns the rows of the new ones; the others count as duplicates of their spans. */
  async #insertRawEvents(tx: SessionTransaction, batch: Batch, rows: Int32Array): Promise<Int32Array> {
    try {
      const stored = await this.#rawEvents.insert(tx, batch, rows);
      batch.countDuplicates(rows, stored);
      return stored;
    } catch (error) {
      throw error instanceof CopyFailed || codeOf(error) === undefined
        ? error
        : new RawInsertFailed(error, batch.eventsOf(rows));
    }
  }

  /** Drops duplicates of recent events: without raw rows only the recent ids can show a duplicate. */
  #dropRecent(batch: Batch): Int32Array {
    const distinct = batch.distinct();
    const others = distinct.filter((row) => !this.#recentIds.has(batch.rows.eventId(row)));
    batch.countDuplicates(distinct, others);
    return others;
  }
}

/** Marks an error of the raw insert, the only statement that may fail because of the content of a record. */
class RawInsertFailed extends Error {
  override readonly name = "RawInsertFailed";
  readonly events: readonly BatchEvent[];

  constructor(cause: unknown, events: readonly BatchEvent[]) {
    super("raw insert failed", { cause });
    this.events = events;
  }
}

function secondsSince(startedAt: number): number {
  return (performance.now() - startedAt) / 1000;
}
