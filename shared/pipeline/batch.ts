// Builds a worker's batch for one transaction: events, dead letters and spans of offsets.

import type { Rejection, StoredEvent } from "../event.ts";
import { EventReader } from "./event-reader.ts";
import { EventRows } from "./event-rows.ts";
import { withForeignFormat } from "./foreign-format.ts";
import { RecordBlock } from "./record-block.ts";
import { RejectedRecords } from "./rejected-records.ts";
import { makeRejection } from "./rejection.ts";
import { addRecord, openSpan, type Span, type SpanStart } from "./span.ts";

/** An event as an object, and where it came from. */
export interface BatchEvent {
  readonly event: StoredEvent;
  readonly span: Span;
  readonly offset: number;
  /** Index of its record in the block. */
  readonly record: number;
  /** Index of its row. */
  readonly row: number;
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
  readonly rows: EventRows;
  readonly rejected: RejectedRecords;
  readonly spans = new Map<number, Span>();
  /** False while no event's id, user or type was written with an escape: then none needs quoting in SQL array literals. */
  hasEscapes = false;
  /** When the first record arrived, ms of the monotonic clock. */
  openedAtMs = 0;
  /** Time spent on decoding, validating and enriching, seconds. */
  transformationSeconds = 0;
  readonly #reader = new EventReader();
  /** 0, 1, 2, ...: the rows of a batch to which nothing has happened. */
  readonly #allRows: Int32Array;
  /** Once partitions were dropped: the other rows. */
  #keptRows: number[] | undefined;
  #recordsRead = 0;
  #clock: BatchClock = { processedAtMs: 0, maxFutureSkewMs: 0 };

  constructor(maxRecords: number) {
    this.block = new RecordBlock(maxRecords);
    this.rows = new EventRows(maxRecords);
    this.rejected = new RejectedRecords(this.block);
    this.#allRows = Int32Array.from({ length: maxRecords }, (_, row) => row);
  }

  get isEmpty(): boolean {
    return this.#recordsRead === 0;
  }

  /** The events as objects, which the COPY of a batch does without. */
  get events(): readonly BatchEvent[] {
    return this.eventsOf(this.#kept());
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
      const rejection = this.#reader.scan(
        block.bytes,
        block.valueStart[record]!,
        block.valueEnd[record]!,
        processedAtMs,
        maxFutureSkewMs,
        length,
      );
      if (rejection === undefined) {
        if (this.#reader.hasEscapes) this.hasEscapes = true;
        this.rows.add(this.#reader, record, processedAtMs);
        this.#keptRows?.push(this.rows.count - 1);
      } else {
        this.rejected.add(span, record, this.#withForeignFormat(rejection, record));
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
    this.#keptRows = Array.from(this.#kept()).filter((row) => this.spans.has(this.#slotOf(row)));
    this.rejected.drop(dropped);
  }

  /** Turns events that PostgreSQL refuses for their content into dead letters. */
  refuse(events: readonly BatchEvent[], errorOf: (event: BatchEvent) => string): void {
    for (const event of events) {
      const { row, span, record } = event;
      const rejection = makeRejection("store", "refused_by_database", errorOf(event));
      this.rejected.refuse(row, span, record, rejection);
    }
  }

  /**
   * Turns the events of hours before the cut-off of the retention into dead letters.
   * @param cutoffMs a whole hour, ms since 1970
   */
  expire(cutoffMs: number): void {
    const { timestampMs } = this.rows;
    const expired = this.#kept().filter(
      (row) => timestampMs[row]! < cutoffMs && !this.rejected.isRefused(row),
    );
    const cutoff = new Date(cutoffMs).toISOString();
    for (const row of expired) {
      const time = new Date(timestampMs[row]!).toISOString();
      const error = `the timestamp ${time} is past the retention: events before ${cutoff} are not stored any more`;
      this.rejected.refuse(
        row,
        this.#spanOf(row),
        this.rows.record[row]!,
        makeRejection("store", "expired", error),
      );
    }
  }

  /**
   * The rows of the events to store: of each event_id the one with the lowest (topic, partition, offset). The others
   * are counted as duplicates of their own partitions.
   */
  distinct(): Int32Array {
    for (const span of this.spans.values()) span.duplicates = 0;
    if (!this.rows.hasRepeatedIds && this.rejected.refusedCount === 0) return this.#kept();
    const byId = new Map<string, number>();
    for (const row of this.#kept()) {
      if (this.rejected.isRefused(row)) continue;
      const eventId = this.rows.eventId(row);
      const other = byId.get(eventId);
      const isFirst = other === undefined || this.#isBefore(row, other);
      if (isFirst) byId.set(eventId, row);
      if (other !== undefined) this.#spanOf(isFirst ? other : row).duplicates++;
    }
    return Int32Array.from(byId.values()).toSorted();
  }

  /** Counts the rows that were not stored, because their ids had been before, as duplicates of their spans. */
  countDuplicates(rows: Int32Array, stored: Int32Array): void {
    if (rows.length === stored.length) return;
    const isStored = new Set(stored);
    for (const row of rows) if (!isStored.has(row)) this.#spanOf(row).duplicates++;
  }

  /** The events of some rows, as objects. */
  eventsOf(rows: Int32Array): readonly BatchEvent[] {
    return Array.from(rows, (row) => this.#event(row));
  }

  /** Counts for each span the events that were stored. They are not derived from its other counts, so that these can be checked. */
  countStored(rows: Int32Array): void {
    for (const span of this.spans.values()) span.stored = 0;
    for (const row of rows) this.#spanOf(row).stored++;
  }

  #kept(): Int32Array {
    return this.#keptRows === undefined
      ? this.#allRows.subarray(0, this.rows.count)
      : Int32Array.from(this.#keptRows);
  }

  #slotOf(row: number): number {
    return this.block.slot[this.rows.record[row]!]!;
  }

  #spanOf(row: number): Span {
    return this.spans.get(this.#slotOf(row))!;
  }

  #isBefore(row: number, other: number): boolean {
    const [a, b] = [this.#spanOf(row), this.#spanOf(other)];
    if (a === b) return row < other;
    if (a.topic !== b.topic) return a.topic < b.topic;
    return a.partition < b.partition;
  }

  #event(row: number): BatchEvent {
    const record = this.rows.record[row]!;
    return {
      event: this.rows.event(row),
      span: this.#spanOf(row),
      offset: this.block.offset[record]!,
      record,
      row,
    };
  }

  #withForeignFormat(rejection: Rejection, record: number): Rejection {
    const { bytes, valueStart, valueEnd } = this.block;
    return withForeignFormat(rejection, bytes, valueStart[record]!, valueEnd[record]!);
  }

  /** Empties the batch for reuse; its memory stays allocated. */
  clear(): void {
    this.block.clear();
    this.rows.clear();
    this.spans.clear();
    this.#keptRows = undefined;
    this.rejected.clear();
    this.hasEscapes = false;
    this.transformationSeconds = 0;
    this.#recordsRead = 0;
  }
}
