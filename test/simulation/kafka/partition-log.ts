// Models the log of one partition: its records, the offsets without a record, and who can read it.

import type { TopicRecord } from "../topic-record.ts";

/** One offset of a log. Without a record: a transaction's marker, an aborted record, or one that compaction removed. */
export interface LogEntry {
  readonly offset: number;
  readonly record: TopicRecord | undefined;
}

export class PartitionLog {
  readonly topic: string;
  readonly partition: number;
  /** Every offset that was ever written, from the first on; retention removes none from here. */
  readonly entries: LogEntry[] = [];
  readonly firstOffset: number;
  /** Retention has removed what lies below. */
  beginning: number;
  /** Where an open transaction begins: nothing from here on can be read. */
  openTransactionFrom: number | undefined;
  /** False while no broker leads the partition. */
  hasLeader = true;
  /** A batch that no reader can decompress. */
  unreadableOffset: number | undefined;
  readonly #readers = new Set<() => void>();

  constructor(topic: string, partition: number, firstOffset: number) {
    this.topic = topic;
    this.partition = partition;
    this.firstOffset = firstOffset;
    this.beginning = firstOffset;
  }

  /** The offset of the next record. */
  get end(): number {
    return this.firstOffset + this.entries.length;
  }

  /** Up to where a reader of committed records can read. */
  get stableEnd(): number {
    return this.openTransactionFrom ?? this.end;
  }

  /** The offset after the last record. */
  get endOfRecords(): number {
    const last = this.entries.findLast(({ record }) => record !== undefined);
    return last === undefined ? this.firstOffset : last.offset + 1;
  }

  append(record: TopicRecord | undefined): void {
    this.entries.push({ offset: this.end, record });
  }

  at(offset: number): LogEntry | undefined {
    return this.entries[offset - this.firstOffset];
  }

  /** Calls once, when something has changed that a waiting reader may be interested in. */
  onChange(run: () => void): void {
    this.#readers.add(run);
  }

  changed(): void {
    const readers = [...this.#readers];
    this.#readers.clear();
    for (const run of readers) run();
  }
}
