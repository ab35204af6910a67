// Keeps the partitions that the group gave to one worker, each in exactly one state.
//
//   awaiting_offset  Owned, not fetched, because the stored offset is not known. In: assigned; any resync. The
//                    database is asked first; where it has no row, the beginning of the log is needed as well.
//                    Out: the offset was read (fetching).
//   fetching         librdkafka fetches it, from `next` on. `stored` is what the last answered COMMIT left, `next`
//                    the end of the last batch that was handed to a transaction, `leaderEpoch` that of the last
//                    record below `next`. `unreadable` is the batch that librdkafka cannot read: it retries until it
//                    reads that batch or later records. Out: out_of_range, resync.
//   out_of_range     The log does not hold the offset, or was cut below it (`truncation`); librdkafka has stopped
//                    fetching. Out: the bounds of the log are known and all that was read before is committed:
//                    fetching. Below the start the gap is skipped; a log that was cut is read again from the cut.
//   over_limit       Too many of its last records are dead letters (`excess`). It is not fetched, and what was read
//                    and not handed to a transaction is dropped. Out: resync, after which the same records bring it
//                    back here; a restart with another limit.
//
// A revocation takes a partition out of any state. What is not `fetching` is not in librdkafka's assignment:
// pausing, seeking and resyncing all use the same two calls, stop and fetch.

import type { TopicPartition } from "../../shared/event.ts";
import type { FetchStart } from "../../shared/kafka/consumer.ts";
import type { LogTruncation } from "../../shared/kafka/log-truncation.ts";
import type { Span } from "../../shared/pipeline/span.ts";
import { InvariantViolated } from "../../shared/runtime/errors.ts";
import type { Excess } from "./dead-letter-budget.ts";

/** What is known of the row of a partition in pipeline_offsets. */
export type StoredRow =
  | { readonly kind: "unknown" }
  /** Another transaction holds it: it belongs to the partition's last owner, or is an old one of ours. */
  | { readonly kind: "locked"; readonly sinceMs: number }
  /** There is none: the partition was never read. `beginning` is that of its log, once Kafka has reported it. */
  | { readonly kind: "missing"; readonly beginning: number | undefined };

export type PartitionState =
  | { readonly kind: "awaiting_offset"; topicId: string | undefined; row: StoredRow }
  | {
      readonly kind: "fetching";
      readonly topicId: string;
      readonly reading: number;
      stored: number;
      next: number;
      leaderEpoch: number | undefined;
      unreadable: UnreadableBatch | undefined;
    }
  | {
      readonly kind: "out_of_range";
      readonly topicId: string;
      readonly reading: number;
      stored: number;
      leaderEpoch: number | undefined;
      /** How the log was cut, if it was. */
      readonly truncation: LogTruncation | undefined;
      bounds: LogBounds | undefined;
    }
  | {
      readonly kind: "over_limit";
      readonly topicId: string;
      readonly reading: number;
      stored: number;
      readonly excess: Excess;
    };

/** Where a partition is read: a reading of it, and the offset up to which that is stored. */
export interface ReadPosition {
  readonly topicId: string;
  readonly reading: number;
  readonly stored: number;
  /** Of the last record below `stored`, where it is known. */
  readonly leaderEpoch: number | undefined;
}

export type PartitionStateName = PartitionState["kind"];

/** A batch of records that librdkafka cannot read, such as one that is compressed with a codec that it lacks. */
export interface UnreadableBatch {
  readonly offset: number;
  /** For a person. */
  readonly reason: string;
}

/** The offsets between which a log has records: the first, and the one after the last that can be read. */
export interface LogBounds {
  readonly beginning: number;
  readonly end: number;
}

/** One owned partition. */
export interface OwnedPartition extends TopicPartition {
  readonly slot: number;
  state: PartitionState;
  /** The stored next offset as last known, for lag while it is not being fetched. */
  lastStored: number | undefined;
  /** The stable end of the log as last read. */
  end: number | undefined;
}

/** A partition in one state. */
export type PartitionIn<Kind extends PartitionStateName> = OwnedPartition & {
  state: Extract<PartitionState, { kind: Kind }>;
};

/** The assignment of one worker; the only place where partitions change state. */
export class Assignment {
  readonly #bySlot = new Map<number, OwnedPartition>();

  get size(): number {
    return this.#bySlot.size;
  }

  all(): OwnedPartition[] {
    return [...this.#bySlot.values()];
  }

  in<Kind extends PartitionStateName>(kind: Kind): PartitionIn<Kind>[] {
    return this.all().filter((owned): owned is PartitionIn<Kind> => owned.state.kind === kind);
  }

  get(slot: number): OwnedPartition | undefined {
    return this.#bySlot.get(slot);
  }

  /** False once the partition was revoked, even if it has been assigned again since. */
  holds(owned: OwnedPartition): boolean {
    return this.#bySlot.get(owned.slot) === owned;
  }

  assign(slot: number, { topic, partition }: TopicPartition): void {
    this.#bySlot.set(slot, {
      slot,
      topic,
      partition,
      state: awaitingOffset(),
      lastStored: undefined,
      end: undefined,
    });
  }

  revoke(slot: number): void {
    this.#bySlot.delete(slot);
  }

  /** The stored offset is known: fetch from there. */
  startFetchingAt(
    owned: OwnedPartition,
    { topicId, reading, stored, leaderEpoch }: ReadPosition,
  ): FetchStart {
    const { topic, partition } = owned;
    owned.state = {
      kind: "fetching",
      topicId,
      reading,
      stored,
      next: stored,
      leaderEpoch,
      unreadable: undefined,
    };
    owned.lastStored = stored;
    return { topic, partition, offset: stored, leaderEpoch };
  }

  /**
   * The broker reports that the offset is not in the log, or that the log was cut.
   * @returns false where the partition was not fetched
   */
  markOutOfRange(owned: OwnedPartition, truncation: LogTruncation | undefined): boolean {
    if (owned.state.kind !== "fetching") return false;
    const { topicId, reading, stored, leaderEpoch } = owned.state;
    owned.state = {
      kind: "out_of_range",
      topicId,
      reading,
      stored,
      leaderEpoch,
      truncation,
      bounds: undefined,
    };
    return true;
  }

  /** @returns false where this batch is marked already, or the partition is not fetched */
  markUnreadable({ state }: OwnedPartition, batch: UnreadableBatch): boolean {
    if (state.kind !== "fetching" || state.unreadable?.offset === batch.offset) return false;
    state.unreadable = batch;
    return true;
  }

  /** Records up to `offset` were read. */
  markRead(slot: number, offset: number): void {
    const state = this.#bySlot.get(slot)?.state;
    if (state?.kind !== "fetching" || state.unreadable === undefined) return;
    if (offset >= state.unreadable.offset) state.unreadable = undefined;
  }

  /** @returns false where the partition is not fetched */
  markOverLimit(owned: OwnedPartition, excess: Excess): boolean {
    if (owned.state.kind !== "fetching") return false;
    const { topicId, reading, stored } = owned.state;
    owned.state = { kind: "over_limit", topicId, reading, stored, excess };
    return true;
  }

  unreadable(): OwnedPartition[] {
    return this.in("fetching").filter(({ state }) => state.unreadable !== undefined);
  }

  /**
   * A batch with the offsets [from, to) goes into a transaction.
   * @throws InvariantViolated where it does not begin at the end of the batch before
   */
  markInFlight(slot: number, { topic, partition, from, to, leaderEpoch }: Span): void {
    const state = this.#bySlot.get(slot)?.state;
    if (state?.kind !== "fetching") return;
    if (from !== state.next || to <= from) {
      throw new InvariantViolated(
        `${topic}[${partition}]: a batch of the offsets [${from}, ${to}) follows one that ended at ${state.next}`,
      );
    }
    state.next = to;
    state.leaderEpoch = leaderEpoch;
  }

  /** The COMMIT of a batch was answered. */
  markCommitted(slot: number, { to, leaderEpoch }: Span): void {
    const owned = this.#bySlot.get(slot);
    if (owned === undefined) return;
    const { state } = owned;
    owned.lastStored = to;
    if (state.kind === "awaiting_offset") return;
    state.stored = to;
    // The batch may have been handed over after its partition went out of range.
    if (state.kind === "out_of_range") state.leaderEpoch = leaderEpoch;
  }

  /** Forgets every offset: all of them have to be read again. */
  resync(): void {
    for (const owned of this.#bySlot.values()) owned.state = awaitingOffset();
  }
}

function awaitingOffset(): PartitionState {
  return { kind: "awaiting_offset", topicId: undefined, row: { kind: "unknown" } };
}
