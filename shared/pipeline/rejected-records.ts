// Keeps the records of a batch that are not stored as events, and why.

import type { DeadLetter, Rejection, RejectionReason, TopicPartition } from "../event.ts";
import type { RecordBlock } from "./record-block.ts";
import type { Span } from "./span.ts";

/** Where a rejected record came from, and why it was rejected. */
export interface RejectedPlace {
  /** Of its partition. */
  readonly slot: number;
  readonly span: Span;
  readonly offset: number;
  readonly reason: RejectionReason;
}

interface RejectedRecord {
  readonly span: Span;
  /** Index of the record in the block. */
  readonly record: number;
  readonly rejection: Rejection;
}

/** The records that a batch has rejected while it read them, and those of the events that were refused when they were to be stored. */
export class RejectedRecords {
  readonly #block: RecordBlock;
  #rejected: RejectedRecord[] = [];
  /** By row. */
  readonly #refused = new Map<number, RejectedRecord>();

  /** @param block that of the batch */
  constructor(block: RecordBlock) {
    this.#block = block;
  }

  /** How many records the batch itself has rejected; more may be refused when they are to be stored. */
  get count(): number {
    return this.#rejected.length;
  }

  /** How many events were refused when they were to be stored. */
  get refusedCount(): number {
    return this.#refused.size;
  }

  /** True where the event of a row was refused when it was to be stored. */
  isRefused(row: number): boolean {
    return this.#refused.has(row);
  }

  /** @param record its index in the block */
  add(span: Span, record: number, rejection: Rejection): void {
    span.deadLettered++;
    this.#rejected.push({ span, record, rejection });
  }

  /** The event of a row cannot be stored; it was not counted as rejected before. */
  refuse(row: number, span: Span, record: number, rejection: Rejection): void {
    span.deadLettered++;
    this.#refused.set(row, { span, record, rejection });
  }

  /** Forgets the records of spans that are no longer the batch's. */
  drop(spans: ReadonlySet<Span>): void {
    this.#rejected = this.#rejected.filter(({ span }) => !spans.has(span));
  }

  /** The records that the batch itself has rejected, but for the first `count`. */
  *placesAfter(count: number): Generator<RejectedPlace> {
    for (const rejected of this.#rejected.slice(count)) yield this.#placeOf(rejected);
  }

  /** The records of the events that were refused. */
  *refusedPlaces(): Generator<RejectedPlace> {
    for (const rejected of this.#refused.values()) yield this.#placeOf(rejected);
  }

  /** Where each record came from, and why it was rejected. */
  places(): (TopicPartition & Pick<RejectedPlace, "offset" | "reason">)[] {
    return this.#all().map(({ span: { topic, partition }, record, rejection }) => ({
      topic,
      partition,
      offset: this.#block.offset[record]!,
      reason: rejection.reason,
    }));
  }

  /** The records one by one, with their bytes, which are valid until the block is cleared. */
  *deadLetters(): Generator<DeadLetter> {
    const block = this.#block;
    for (const { span, record, rejection } of this.#all()) {
      yield {
        topic: span.topic,
        topicId: span.topicId,
        partition: span.partition,
        reading: span.reading,
        offset: block.offset[record]!,
        key: block.key(record),
        keyBytes: block.cutKeys.get(record)?.bytes,
        value: block.value(record),
        valueBytes: block.cutValues.get(record)?.bytes,
        valueSha256: block.cutValues.get(record)?.sha256,
        headers: block.headers(record),
        headersBytes: block.cutHeaderBytes(record),
        rejection,
      };
    }
  }

  clear(): void {
    this.#rejected = [];
    this.#refused.clear();
  }

  #all(): readonly RejectedRecord[] {
    return this.#refused.size === 0 ? this.#rejected : [...this.#rejected, ...this.#refused.values()];
  }

  #placeOf({ span, record, rejection }: RejectedRecord): RejectedPlace {
    const { slot, offset } = this.#block;
    return { slot: slot[record]!, span, offset: offset[record]!, reason: rejection.reason };
  }
}
