// Models the log of one partition: its records, the offsets without a record, its leaders, and who can read it.

import type { TopicRecord } from "../topic-record.ts";

/** One offset of a log. Without a record: a transaction's marker, an aborted record, or one that compaction removed. */
export interface LogEntry {
  readonly offset: number;
  readonly record: TopicRecord | undefined;
  /** The epoch of the leader that wrote it. No two entries have both the same offset and the same epoch. */
  readonly leaderEpoch: number;
  /** The entry below it. A log that was cut and grew again has other entries at the same offsets. */
  readonly previous: LogEntry | undefined;
}

export class PartitionLog {
  readonly topic: string;
  readonly partition: number;
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
  #leaderEpoch = 0;
  /** Of any leader so far. */
  #lastEpoch = 0;
  #entries: LogEntry[] = [];
  /** What was cut off, the earlier first. */
  readonly #cutOff: (readonly LogEntry[])[] = [];

  constructor(topic: string, partition: number, firstOffset: number) {
    this.topic = topic;
    this.partition = partition;
    this.firstOffset = firstOffset;
    this.beginning = firstOffset;
  }

  /** Every offset of the log as it is, from the first on; retention removes none from here. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** The offset of the next record. */
  get end(): number {
    return this.firstOffset + this.#entries.length;
  }

  /** Up to where a reader of committed records can read. */
  get stableEnd(): number {
    return this.openTransactionFrom ?? this.end;
  }

  /** The offset after the last record. */
  get endOfRecords(): number {
    const last = this.#entries.findLast(({ record }) => record !== undefined);
    return last === undefined ? this.firstOffset : last.offset + 1;
  }

  get leaderEpoch(): number {
    return this.#leaderEpoch;
  }

  append(record: TopicRecord | undefined): void {
    // What a leader of a forgotten epoch writes passes for that of an earlier one, and no reader could ever notice.
    if (this.#leaderEpoch < this.#lastEpoch) this.electLeader();
    const { end: offset, leaderEpoch } = this;
    this.#entries.push({ offset, record, leaderEpoch, previous: this.#entries.at(-1) });
  }

  at(offset: number): LogEntry | undefined {
    return this.#entries[offset - this.firstOffset];
  }

  /** An in-sync replica becomes the leader: nothing is lost. */
  electLeader(): void {
    this.#leaderEpoch = ++this.#lastEpoch;
  }

  /** A replica that lacks what lies from an offset on becomes the leader. */
  cut(from: number): void {
    this.#cutOff.push(this.#entries.slice(from - this.firstOffset));
    this.#entries = this.#entries.slice(0, from - this.firstOffset);
    if ((this.openTransactionFrom ?? -1) >= from) this.openTransactionFrom = undefined;
    if ((this.unreadableOffset ?? -1) >= from) this.unreadableOffset = undefined;
    this.electLeader();
  }

  /** All replicas are put back to an older state: the leader has forgotten the epochs since, until it writes. */
  restore(from: number): void {
    this.cut(from);
    this.#leaderEpoch = this.#entries.at(-1)?.leaderEpoch ?? 0;
  }

  /**
   * Where the log ends that the leaders up to an epoch have written, as OffsetForLeaderEpoch tells it.
   * @returns undefined where the leader does not know the epoch
   */
  endOfEpoch(leaderEpoch: number): { readonly end: number; readonly leaderEpoch: number } | undefined {
    if (leaderEpoch > this.#leaderEpoch) return undefined;
    const last = this.#entries.findLast((entry) => entry.leaderEpoch <= leaderEpoch);
    if (last === undefined || last.offset < this.beginning) return { end: this.beginning, leaderEpoch };
    return {
      end: last.offset + 1,
      leaderEpoch: leaderEpoch === this.#leaderEpoch ? leaderEpoch : last.leaderEpoch,
    };
  }

  /**
   * The entry that was read at an offset, also where it was cut off since.
   * @param leaderEpoch its own, or that of a later leader before the cut
   */
  entryOf(offset: number, leaderEpoch: number): LogEntry | undefined {
    return [...this.#cutOff, this.#entries]
      .flatMap((entries) => entries.find((entry) => entry.offset === offset) ?? [])
      .filter((entry) => entry.leaderEpoch <= leaderEpoch)
      .toSorted((a, b) => a.leaderEpoch - b.leaderEpoch)
      .at(-1);
  }

  /** Up to where the log is still the one that an entry was read from. */
  endOfCommon(entry: LogEntry | undefined): number {
    let common = entry;
    while (common !== undefined && this.at(common.offset) !== common) common = common.previous;
    return common === undefined ? this.firstOffset : common.offset + 1;
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
