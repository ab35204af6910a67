// Builds a worker's batch for one transaction: events, dead letters and spans of offsets.

import type { DeadLetter, PipelineEvent, Rejection, RejectionReason } from "../event.ts";
import { enrich } from "./enrich.ts";
import { EventReader } from "./event-reader.ts";
import { withForeignFormat } from "./foreign-format.ts";
import { RecordBlock } from "./record-block.ts";
import { isRejection, makeRejection } from "./rejection.ts";
import { addRecord, openSpan, type Span, type SpanStart } from "./span.ts";

/** An event and where it came from. */
export interface BatchEvent {
  readonly event: PipelineEvent;
  readonly span: Span;
  readonly offset: number;
  /** Index of its record in the block. */
  readonly record: number;
  /** Why PostgreSQL refuses the event, once the store has found out. */
  refusal: Rejection | undefined;
}

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
  readonly offset: number;
  readonly record: number;
  readonly rejection: Rejection;
}

/** The clock and the limit that a batch validates its records by. */
export interface BatchClock {
  /** The database's clock, ms since 1970, when the batch was opened: processed_at of its events. */
  readonly processedAtMs: number;
  readonly maxFutureSkewMs: number;
}

/**
 * A batch under construction. It keeps the bytes of all of its records until it is committed or thrown away,
 * because any record may have to become a dead letter. Each span's [from, to) is fixed when the batch is built.
 */
export class Batch {
  readonly block: RecordBlock;
  readonly spans = new Map<number, Span>();
  /** False while no event's id, user or type was written with an escape: then none needs quoting in SQL array literals. */
  hasEscapes = false;
  /** When the first record arrived, ms of the monotonic clock. */
  openedAtMs = 0;
  /** Time spent on decoding, validating and enriching, seconds. */
  transformationSeconds = 0;
  readonly #reader = new EventReader();
  #events: BatchEvent[] = [];
  #rejected: RejectedRecord[] = [];
  #recordsRead = 0;
  #clock: BatchClock = { processedAtMs: 0, maxFutureSkewMs: 0 };

  constructor(maxRecords: number) {
    this.block = new RecordBlock(maxRecords);
  }

  get isEmpty(): boolean {
    return this.#recordsRead === 0;
  }

  get events(): readonly BatchEvent[] {
    return this.#events;
  }

  /** Records read. */
  get records(): number {
    return this.#recordsRead;
  }

  get clock(): BatchClock {
    return this.#clock;
  }

  /** Sets the clock of an empty batch. @param nowMs the monotonic clock, ms */
  open(clock: BatchClock, nowMs: number): void {
    this.#clock = { ...clock, processedAtMs: Math.floor(clock.processedAtMs) };
    this.openedAtMs = nowMs;
  }

  /**
   * Reads the records that were added to the block since the last call into events, and enriches them.
   *
   * @param spanStart the partition of a slot and the offset that its span begins at; undefined for a partition that
   *   this worker no longer reads, whose records are skipped
   * @throws OffsetRegression
   */
  read(spanStart: (slot: number) => SpanStart | undefined): void {
    const { block } = this;
    const { processedAtMs, maxFutureSkewMs } = this.#clock;
    const startedAt = performance.now();
    for (let record = this.#recordsRead; record < block.count; record++) {
      const slot = block.slot[record]!;
      const offset = block.offset[record]!;
      let span = this.spans.get(slot);
      if (span === undefined) {
        const start = spanStart(slot);
        if (start === undefined) continue;
        span = openSpan(start);
        this.spans.set(slot, span);
      }
      addRecord(span, offset, block.leaderEpoch[record]!);
      const length = block.valueLength(record);
      span.bytes += length;
      const event = this.#reader.read(
        block.bytes,
        block.valueStart[record]!,
        block.valueEnd[record]!,
        processedAtMs,
        maxFutureSkewMs,
        length,
      );
      if (isRejection(event)) {
        span.deadLettered++;
        const rejection = withForeignFormat(
          event,
          block.bytes,
          block.valueStart[record]!,
          block.valueEnd[record]!,
        );
        this.#rejected.push({ span, offset, record, rejection });
      } else {
        if (this.#reader.hasEscapes) this.hasEscapes = true;
        this.#events.push({ event: enrich(event), span, offset, record, refusal: undefined });
      }
    }
    this.#recordsRead = block.count;
    this.transformationSeconds += (performance.now() - startedAt) / 1000;
  }

  /** Removes partitions that belong to another worker now, which reads their records again. */
  drop(slots: Iterable<number>): void {
    const dropped = new Set<Span>();
    for (const slot of slots) {
      const span = this.spans.get(slot);
      if (span !== undefined) dropped.add(span);
      this.spans.delete(slot);
    }
    if (dropped.size === 0) return;
    this.#events = this.#events.filter(({ span }) => !dropped.has(span));
    this.#rejected = this.#rejected.filter(({ span }) => !dropped.has(span));
  }

  /** Turns events that PostgreSQL refuses for their content into dead letters. */
  refuse(events: readonly BatchEvent[], errorOf: (event: BatchEvent) => string): void {
    for (const event of events) {
      event.refusal = makeRejection("store", "refused_by_database", errorOf(event));
      event.span.deadLettered++;
    }
  }

  /**
   * The events to store: of each event_id the one with the lowest (topic, partition, offset). The others are
   * counted as duplicates of their own partitions.
   */
  distinct(): readonly BatchEvent[] {
    for (const span of this.spans.values()) span.duplicates = 0;
    if (this.#areAllDistinct()) return this.events;
    const byId = new Map<string, BatchEvent>();
    for (const event of this.events) {
      if (event.refusal !== undefined) continue;
      const { eventId } = event.event;
      const other = byId.get(eventId);
      if (other === undefined) {
        byId.set(eventId, event);
      } else if (isBefore(event, other)) {
        other.span.duplicates++;
        byId.set(eventId, event);
      } else {
        event.span.duplicates++;
      }
    }
    return [...byId.values()];
  }

  #areAllDistinct(): boolean {
    const ids = new Set<string>();
    for (const { event, refusal } of this.#events) {
      if (refusal !== undefined) return false;
      ids.add(event.eventId);
    }
    return ids.size === this.#events.length;
  }

  /** How many records the batch itself has rejected; PostgreSQL may refuse more. */
  get rejected(): number {
    return this.#rejected.length;
  }

  /** The records that the batch itself has rejected, but for the first `count`. */
  *rejectedAfter(count: number): Generator<RejectedPlace> {
    for (const { span, offset, record, rejection } of this.#rejected.slice(count)) {
      yield { slot: this.block.slot[record]!, span, offset, reason: rejection.reason };
    }
  }

  /** The records that PostgreSQL has refused. */
  *refused(): Generator<RejectedPlace> {
    for (const { span, offset, record, refusal } of this.#events) {
      if (refusal !== undefined)
        yield { slot: this.block.slot[record]!, span, offset, reason: refusal.reason };
    }
  }

  /** Where each rejected record came from, and why it was rejected. */
  rejections(): {
    readonly topic: string;
    readonly partition: number;
    readonly offset: number;
    readonly reason: RejectionReason;
  }[] {
    return this.#allRejected().map(({ span, offset, rejection }) => ({
      topic: span.topic,
      partition: span.partition,
      offset,
      reason: rejection.reason,
    }));
  }

  /** The rejected records one by one, with their bytes, which are valid until `clear`. */
  *deadLetters(): Generator<DeadLetter> {
    const { block } = this;
    for (const { span, offset, record, rejection } of this.#allRejected()) {
      yield {
        topic: span.topic,
        topicId: span.topicId,
        partition: span.partition,
        reading: span.reading,
        offset,
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

  #allRejected(): readonly RejectedRecord[] {
    const refused = this.events.flatMap(({ span, offset, record, refusal }) =>
      refusal === undefined ? [] : [{ span, offset, record, rejection: refusal }],
    );
    return refused.length === 0 ? this.#rejected : [...this.#rejected, ...refused];
  }

  /** Empties the batch for reuse; its memory stays allocated. */
  clear(): void {
    this.block.clear();
    this.spans.clear();
    this.#events = [];
    this.hasEscapes = false;
    this.transformationSeconds = 0;
    this.#rejected = [];
    this.#recordsRead = 0;
  }
}

function isBefore(a: BatchEvent, b: BatchEvent): boolean {
  if (a.span === b.span) return a.offset < b.offset;
  if (a.span.topic !== b.span.topic) return a.span.topic < b.span.topic;
  return a.span.partition < b.span.partition;
}
