// Keeps the partitions that the group gave to one worker, each in exactly one state.
//
//   awaiting_offset  Owned, not fetched: the stored offset is not known. In: assigned; any resync. Out: the offset was
//                    read from the database (fetching).
//   fetching         librdkafka fetches it, from `next` on. `stored` is the offset after the last answered COMMIT,
//                    `next` the end of the last batch that went into a transaction. Out: out_of_range, resync.
//   out_of_range     The log no longer (or not yet) holds the offset; librdkafka has stopped fetching. Out: the bounds
//                    of the log were read: fetching (below the start: the gap is skipped), or beyond_end.
//   beyond_end       The stored offset lies past the end of the log: Kafka has lost records. It waits for an operator,
//                    or until the log grows past it; the end is read every few seconds. Out: fetching, resync.
//
// A revocation removes a partition from any state. A partition that is not `fetching` is not in librdkafka's
// assignment: pausing, seeking and resyncing are all the same two calls, stop and fetch.

import type { TopicPartition, TopicPartitionOffset } from "../../shared/event.ts";

export type PartitionState =
  | { readonly kind: "awaiting_offset" }
  | { readonly kind: "fetching"; readonly topicId: string; stored: number; next: number }
  | { readonly kind: "out_of_range"; readonly topicId: string; readonly stored: number }
  | { readonly kind: "beyond_end"; readonly topicId: string; readonly stored: number };

export type PartitionStateName = PartitionState["kind"];

/** One owned partition. */
export interface OwnedPartition extends TopicPartition {
  readonly slot: number;
  state: PartitionState;
  /** The last known stored offset, for lag while the partition is not fetched. */
  lastStored: number | undefined;
  /** The stable end of the log, as last read. */
  end: number | undefined;
}

/** The assignment of one worker. Partitions change their state only here. */
export class Assignment {
  readonly #bySlot = new Map<number, OwnedPartition>();

  get size(): number {
    return this.#bySlot.size;
  }

  all(): OwnedPartition[] {
    return [...this.#bySlot.values()];
  }

  in(kind: PartitionStateName): OwnedPartition[] {
    return this.all().filter(({ state }) => state.kind === kind);
  }

  get(slot: number): OwnedPartition | undefined {
    return this.#bySlot.get(slot);
  }

  assign(slot: number, { topic, partition }: TopicPartition): void {
    this.#bySlot.set(slot, {
      slot,
      topic,
      partition,
      state: { kind: "awaiting_offset" },
      lastStored: undefined,
      end: undefined,
    });
  }

  revoke(slot: number): void {
    this.#bySlot.delete(slot);
  }

  /** The stored offset was read. @returns where to fetch from */
  startFetchingAt(owned: OwnedPartition, topicId: string, stored: number): TopicPartitionOffset {
    owned.state = { kind: "fetching", topicId, stored, next: stored };
    owned.lastStored = stored;
    return { topic: owned.topic, partition: owned.partition, offset: stored };
  }

  /** The broker reports that the offset is not in the log. False if the partition was not being fetched. */
  markOutOfRange(owned: OwnedPartition): boolean {
    if (owned.state.kind !== "fetching") return false;
    const { topicId, next } = owned.state;
    owned.state = { kind: "out_of_range", topicId, stored: next };
    return true;
  }

  markBeyondEnd(owned: OwnedPartition): void {
    if (owned.state.kind !== "out_of_range") return;
    owned.state = { kind: "beyond_end", topicId: owned.state.topicId, stored: owned.state.stored };
  }

  /** A batch that ends at offset `to` went into a transaction. */
  markInFlight(slot: number, to: number): void {
    const state = this.#bySlot.get(slot)?.state;
    if (state?.kind === "fetching") state.next = to;
  }

  /** The COMMIT of a batch that ends at offset `to` was answered. */
  markCommitted(slot: number, to: number): void {
    const owned = this.#bySlot.get(slot);
    if (owned === undefined) return;
    owned.lastStored = to;
    if (owned.state.kind === "fetching") owned.state.stored = to;
  }

  /** Forgets every offset, so that all of them are read again. */
  resync(): void {
    for (const owned of this.#bySlot.values()) owned.state = { kind: "awaiting_offset" };
  }
}
