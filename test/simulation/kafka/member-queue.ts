// Models a queue of a group member, whose wake-ups come once until it was polled empty.

import type { ConsumerEvent } from "../../../shared/kafka/consumer-event.ts";
import type { FetchedPartition } from "./fetched-partition.ts";
import type { Rebalance } from "./group-coordinator.ts";
import type { LogEntry } from "./partition-log.ts";

interface QueuedEvent {
  readonly kind: "event";
  readonly event: ConsumerEvent;
}

/** What waits in the queue of records: errors of a partition come behind its records. */
export type FetchedItem =
  | QueuedEvent
  | {
      readonly kind: "entries";
      readonly slot: number;
      /** Entries of a partition that was stopped or moved since are dropped. */
      readonly source: FetchedPartition;
      readonly entries: readonly LogEntry[];
      /** The index of the first that is not polled yet. */
      next: number;
    };

/** What waits in the queue of events. */
export type EventItem =
  | QueuedEvent
  | {
      readonly kind: "rebalance";
      readonly rebalance: Rebalance;
      readonly isLost: boolean;
      /** When it came, by the time that the process has run. */
      readonly atMs: number;
    };

export class MemberQueue<Item> {
  readonly #items: Item[] = [];
  readonly #onWake: () => void;
  #isPolledEmpty = true;

  constructor(onWake: () => void) {
    this.#onWake = onWake;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: Item): void {
    this.#items.push(item);
    if (!this.#isPolledEmpty) return;
    this.#isPolledEmpty = false;
    this.#onWake();
  }

  /** The next item; undefined where there is none: then the next push wakes. */
  first(): Item | undefined {
    const item = this.#items[0];
    if (item === undefined) this.#isPolledEmpty = true;
    return item;
  }

  shift(): void {
    this.#items.shift();
  }

  all(): readonly Item[] {
    return this.#items;
  }
}
