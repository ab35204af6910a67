// Defines what a batch does to one partition: the offsets that it covers, and what became of their records.

import type { TopicPartition } from "../event.ts";

/** A partition of one incarnation of a topic; a topic that is deleted and created again gets another id. */
export interface PartitionKey extends TopicPartition {
  readonly topicId: string;
}

/** One reading of a partition. A log that was cut and rewritten is read again from the cut, under the next reading. */
export interface ReadingKey extends PartitionKey {
  /** 0 for the first. */
  readonly reading: number;
}

/** Where a span begins. */
export interface SpanStart extends ReadingKey {
  readonly from: number;
}

/** What a batch does to one partition: it moves the stored offset from `from` to `to` and accounts for the offsets between. */
export interface Span extends SpanStart {
  /** The offset after the last record. */
  to: number;
  /** The leader epoch of the last record, where it is known. */
  leaderEpoch: number | undefined;
  /** Records read. */
  consumed: number;
  /** Offsets before a record that hold none: transaction markers, aborted and compacted records. */
  gaps: number;
  /** Of the consumed: events that were stored; counted by the store. */
  stored: number;
  /** Of the consumed: events whose event_id was seen before. */
  duplicates: number;
  /** Of the consumed: records that can never be stored. */
  deadLettered: number;
  /** Bytes of the values read. */
  bytes: number;
}

/** Kafka delivered an offset below one already read; the partition is read again from the stored offset. */
export class OffsetRegression extends Error {
  override readonly name = "OffsetRegression";
}

/** A span that covers no offset yet. */
export function openSpan(start: SpanStart): Span {
  return {
    ...start,
    to: start.from,
    leaderEpoch: undefined,
    consumed: 0,
    gaps: 0,
    stored: 0,
    duplicates: 0,
    deadLettered: 0,
    bytes: 0,
  };
}

/**
 * Moves the end of a span behind a record; the offsets before it that held none are gaps.
 * @param leaderEpoch negative where the broker does not say
 * @throws OffsetRegression
 */
export function addRecord(span: Span, offset: number, leaderEpoch: number): void {
  if (offset !== span.to) {
    if (offset < span.to) {
      throw new OffsetRegression(
        `${span.topic}[${span.partition}] delivered offset ${offset} after ${span.to - 1}`,
      );
    }
    span.gaps += offset - span.to;
  }
  span.to = offset + 1;
  span.leaderEpoch = leaderEpoch < 0 ? undefined : leaderEpoch;
  span.consumed++;
}
