// Models the queue of a group member, whose wake-ups come once until it was polled empty.

import type { ConsumerEvent } from "../../../shared/kafka/consumer.ts";
import type { FetchedPartition } from "./fetched-partition.ts";
import type { Rebalance } from "./group-coordinator.ts";
import type { LogEntry } from "./partition-log.ts";

export type QueueItem =
  | {
      readonly kind: "entries";
      readonly slot: number;
      /** Entries of a partition that was stopped or moved since are dropped. */
      readonly source: FetchedPartition;
      readonly entries: readonly LogEntry[];
      /** The index of the first that is not polled yet. */
      next: number;
    }
  | { readonly kind: "event"; readonly event: ConsumerEvent }
  | {
      readonly kind: "rebalance";
      readonly rebalance: Rebalance;
      readonly isLost: boolean;
      /** When it came, by the time that the process has run. */
      readonly atMs: number;
    };

export class MemberQueue {
  readonly #items: QueueItem[] = [];
  readonly #onWake: () => void;
  #isPolledEmpty = true;

  constructor(onWake: () => void) {
    this.#onWake = onWake;
  }

  get length(): number {
    return this.#items.length;
  }

  push(item: QueueItem): void {
    this.#items.push(item);
    if (!this.#isPolledEmpty) return;
    this.#isPolledEmpty = false;
    this.#onWake();
  }

  /** The next item; undefined where there is none: then the next push wakes. */
  first(): QueueItem | undefined {
    const item = this.#items[0];
    if (item === undefined) this.#isPolledEmpty = true;
    return item;
  }

  shift(): void {
    this.#items.shift();
  }

  /** The rebalances that are not polled yet. */
  rebalances(): Rebalance[] {
    return this.#items.flatMap((item) => (item.kind === "rebalance" ? [item.rebalance] : []));
  }
}
