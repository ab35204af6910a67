// Models the partitions that a group member fetches, and how their records come into blocks.

import type { TopicPartition } from "../../../shared/event.ts";
import type { ConsumerEvent } from "../../../shared/kafka/consumer-event.ts";
import type { StartPosition } from "../../../shared/kafka/ffi/partition-list.ts";
import type { RecordBlock } from "../../../shared/pipeline/record-block.ts";
import { addRecord } from "../../pipeline/record.ts";
import type { OperatingSystemProcess } from "../operating-system-process.ts";
import type { WorkerObserver } from "../worker-observer.ts";
import { FetchedPartition } from "./fetched-partition.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";
import { type FetchedItem, MemberQueue } from "./member-queue.ts";

interface Surroundings {
  readonly cluster: KafkaCluster;
  readonly process: OperatingSystemProcess;
  readonly observer: WorkerObserver;
}

type FetchedEntries = Extract<FetchedItem, { kind: "entries" }>;

export class MemberFetcher {
  readonly #surroundings: Surroundings;
  readonly #records: MemberQueue<FetchedItem>;
  readonly #slots = new Map<string, number>();
  readonly #partitions: TopicPartition[] = [];
  /** By slot: the least offset of the next record. */
  readonly #nextOffset: number[] = [];
  /** By slot: the offset after the last one polled, since the partition was started. */
  readonly #position: (number | undefined)[] = [];
  readonly #fetched = new Map<number, FetchedPartition>();
  readonly #postponed = new Map<number, StartPosition | undefined>();
  #repeatsNextRecord = false;

  constructor(surroundings: Surroundings, onWake: () => void) {
    this.#surroundings = surroundings;
    this.#records = new MemberQueue(onWake);
  }

  slot({ topic, partition }: TopicPartition): number {
    const name = `${topic} ${partition}`;
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = this.#partitions.length;
      this.#slots.set(name, slot);
      this.#partitions.push({ topic, partition });
      this.#nextOffset.push(0);
    }
    return slot;
  }

  topicPartition(slot: number): TopicPartition {
    return this.#partitions[slot]!;
  }

  position(slot: number): number | undefined {
    return this.#position[slot];
  }

  /** Plans a start, or with undefined a stop, of the partition for the next `applyPostponed`. */
  postpone(slot: number, start: StartPosition | undefined): void {
    this.#postponed.set(slot, start);
  }

  /** @returns true where a partition was started or stopped */
  applyPostponed(owned: ReadonlySet<number>): boolean {
    const changes = [...this.#postponed];
    this.#postponed.clear();
    let hasChanged = false;
    for (const [slot, start] of changes) {
      hasChanged = this.#unassign(slot) || hasChanged;
      if (start === undefined || !owned.has(slot)) continue;
      this.#assign(slot, start);
      hasChanged = true;
    }
    return hasChanged;
  }

  /** The partition was revoked. */
  forget(slot: number): void {
    this.#postponed.delete(slot);
    this.#unassign(slot);
  }

  endAll(): void {
    for (const slot of this.#fetched.keys()) this.#unassign(slot);
  }

  /** The next record is delivered twice, which librdkafka must never do. */
  repeatNextRecord(): void {
    this.#repeatsNextRecord = true;
  }

  /** Appends records to the block, up to an error of a partition, which is returned. */
  take(block: RecordBlock): ConsumerEvent | undefined {
    while (!block.full) {
      const item = this.#records.first();
      if (item === undefined) return undefined;
      if (item.kind === "event") {
        this.#records.shift();
        return item.event;
      }
      this.#takeEntries(item, block);
    }
    return undefined;
  }

  #takeEntries(fetched: FetchedEntries, block: RecordBlock): void {
    const { slot, source, entries } = fetched;
    // What was fetched before a stop is dropped.
    const isCurrent = this.#fetched.get(slot) === source;
    const end = isCurrent ? entries.length : 0;
    while (fetched.next < end && !block.full) {
      const { offset, record, leaderEpoch } = entries[fetched.next++]!;
      if (record !== undefined && offset >= this.#nextOffset[slot]!) {
        const { value, key } = record;
        const delivered = { slot, offset, leaderEpoch, value, ...(key && { key }) };
        addRecord(block, delivered);
        this.#nextOffset[slot] = offset + 1;
        if (this.#repeatsNextRecord && !block.full) addRecord(block, delivered);
        this.#repeatsNextRecord = false;
      }
      this.#position[slot] = offset + 1;
    }
    if (fetched.next >= end) this.#records.shift();
  }

  #assign(slot: number, start: StartPosition): void {
    const { cluster, process, observer } = this.#surroundings;
    observer.fetching(this.#partitions[slot]!, start.offset);
    this.#nextOffset[slot] = start.offset;
    this.#position[slot] = undefined;
    const source = new FetchedPartition(
      this.#partitions[slot]!,
      start,
      { cluster, process },
      {
        onEntries: (entries) => this.#records.push({ kind: "entries", slot, source, entries, next: 0 }),
        onEvent: (event) => this.#records.push({ kind: "event", event }),
        onTruncated: (isStarting) => observer.truncated(isStarting),
        hasRoom: () => this.#records.length < 50,
      },
    );
    this.#fetched.set(slot, source);
  }

  #unassign(slot: number): boolean {
    const source = this.#fetched.get(slot);
    if (source === undefined) return false;
    source.end();
    return this.#fetched.delete(slot);
  }
}
