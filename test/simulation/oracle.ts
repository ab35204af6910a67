// Proves at every commit that the tables equal the fold of the records below the stored offsets.

import type { Span } from "../../shared/pipeline/span.ts";
import type { RawRow } from "../properties/fold.ts";
import { ExpectedHours } from "./expected-hours.ts";
import { expectAccount, expectHourRow, expectRawRow, hex } from "./expected-rows.ts";
import type { KafkaCluster } from "./kafka/kafka-cluster.ts";
import type { PartitionLog } from "./kafka/partition-log.ts";
import { keyOf } from "./postgres/tables.ts";
import type {
  Change,
  CommittedTransaction,
  DeadLetterRow,
  HourRow,
  OffsetRow,
  RawEventRow,
  Tables,
} from "./postgres/tables.ts";
import { RetentionOracle } from "./retention-oracle.ts";
import { expectStart, isNextReading, recordsOf } from "./records-read.ts";
import type { TopicRecord } from "./topic-record.ts";
import { expectSame, violated, type Violations } from "./violations.ts";

interface Step {
  readonly sequence: number;
  readonly rows: readonly RawRow[];
}

type ChangeIn<Table extends Change["table"]> = Extract<Change, { table: Table }>;

export interface OracleOptions {
  readonly cluster: KafkaCluster;
  readonly saveRawEvents: boolean;
  readonly violations: Violations;
  /** Called for an id that was stored before. */
  readonly onDuplicate: (where: "within a partition" | "across partitions") => void;
  readonly onSkipped: () => void;
  /** Called for an event of an hour below the cut-off that has become a dead letter. */
  readonly onExpired: () => void;
  /** Called for a reading that begins where the log was cut, or is rewound to. @param backendPid whose commit it is */
  readonly onReadAgain: (backendPid: number) => void;
}

/**
 * Follows the commits of the database. What each may change follows from the records between the offsets that it
 * moves; the rest of the tables is as the commit before has left it.
 */
export class Oracle {
  readonly #options: OracleOptions;
  readonly #events = new Map<string, RawRow>();
  /** By event_id: the partition of the record that was stored. */
  readonly #partitionOf = new Map<string, string>();
  readonly #hours = new ExpectedHours();
  readonly #retention = new RetentionOracle();
  readonly #steps: Step[] = [];
  /** What `moveOf` names: every advance of an offset so far. */
  readonly #moves = new Set<string>();

  constructor(options: OracleOptions) {
    this.#options = options;
  }

  onCommit(tables: Tables, transaction: CommittedTransaction): void {
    this.#options.violations.prove(() => this.#check(tables, transaction));
  }

  /** True where a commit has moved the offset of the partition from one to the other, even if a crash has taken it back. */
  hasCommitted({ topicId, partition, reading, from, to }: Span): boolean {
    return this.#moves.has(moveOf({ topicId, partition, reading }, from, to));
  }

  /** A crash has taken back commits. */
  onLost(lost: readonly CommittedTransaction[]): void {
    const sequences = new Set(lost.map(({ sequence }) => sequence));
    for (const { sequence, rows } of this.#steps.splice(0)) {
      if (!sequences.has(sequence)) {
        this.#steps.push({ sequence, rows });
        continue;
      }
      for (const row of rows) {
        this.#events.delete(row.id);
        this.#hours.remove(row);
      }
    }
  }

  /** Proves the tables as a whole. */
  checkAll(tables: Tables): void {
    const { saveRawEvents } = this.#options;
    const rawRows = tables.rawEvents.rows();
    expectSame(
      "rows of raw_events",
      rawRows.length,
      saveRawEvents ? this.#events.size - this.#retention.events : 0,
    );
    for (const row of rawRows) expectRawRow(row, this.#events.get(row.eventId));
    const hours = tables.hours.rows();
    const expected = this.#hours.all();
    expectSame("rows of hourly_aggregations", hours.length, expected.length);
    for (const row of hours) this.#expectHour(row);
    const users = expected.reduce((sum, hour) => sum + hour.users.size, 0);
    expectSame("rows of hourly_users", tables.hourUsers.rows().length, users - this.#retention.users);
    this.#retention.checkSeals(tables);
    for (const row of tables.offsets.rows()) expectAccount(row);
    const deadLettered = tables.offsets.rows().reduce((sum, row) => sum + row.deadLettered, 0);
    expectSame("rows of dead_letter_events", tables.deadLetters.rows().length, deadLettered);
    const stored = tables.offsets.rows().reduce((sum, row) => sum + row.stored, 0);
    expectSame("events stored, by the offsets", stored, this.#events.size);
  }

  #check(tables: Tables, { sequence, changes, backendPid }: CommittedTransaction): void {
    const offsets = changes.filter(
      (change): change is ChangeIn<"pipeline_offsets"> => change.table === "pipeline_offsets",
    );
    const deadLetters = new Map<string, DeadLetterRow>();
    this.#retention.check(tables, changes);
    const newRaw = new Map<string, RawEventRow>();
    for (const change of changes) {
      if (change.table === "dead_letter_events") {
        if (change.before !== undefined) violated(`the dead letter ${change.key} is stored twice`);
        deadLetters.set(change.key, change.after);
      }
      if (change.table === "raw_events" && change.after !== undefined) {
        if (change.before !== undefined) violated(`the event ${change.key} is stored twice`);
        newRaw.set(change.key, change.after);
      }
    }
    const found = this.#records(offsets, deadLetters, backendPid).map((each) =>
      this.#judged(tables, each, deadLetters),
    );
    const rows = this.#storeEvents(found);
    this.#steps.push({ sequence, rows });
    if (this.#options.saveRawEvents) {
      expectSame("events in raw_events by this commit", newRaw.size, rows.length);
      for (const row of rows) expectRawRow(newRaw.get(row.id), row);
    }
    this.#checkDeadLetters(found, deadLetters);
    this.#checkHours(tables, changes, rows);
    const stored = offsets.reduce((sum, { before, after }) => sum + after.stored - (before?.stored ?? 0), 0);
    expectSame("stored, by the offsets", stored, rows.length);
  }

  /** The records between the offsets that a commit moves. */
  #records(
    offsets: readonly ChangeIn<"pipeline_offsets">[],
    letters: ReadonlyMap<string, DeadLetterRow>,
    backendPid: number,
  ): Found[] {
    return offsets.flatMap(({ before, after }) => {
      expectAccount(after);
      const log = this.#log(after);
      const name = `${after.topicId}[${after.partition}]`;
      if (before === undefined) {
        const closed = offsets.find(
          (other) => other.before !== undefined && isNextReading(other.after, after),
        );
        expectStart(log, after, closed?.after, this.#options.saveRawEvents);
        if (after.reading > 0) this.#options.onReadAgain(backendPid);
        return [];
      }
      const [from, to] = [before.nextOffset, after.nextOffset];
      if (to < from) violated(`the stored offset of ${name} goes back from ${from} to ${to}`);
      if (to === from) return [];
      if (after.deleted !== before.deleted) {
        if (to > log.beginning) violated(`${name} skips to ${to}, its log begins at ${log.beginning}`);
        this.#options.onSkipped();
        return [];
      }
      this.#moves.add(moveOf(after, from, to));
      const records = recordsOf(log, before, after);
      expectSame(
        `records of ${name} between ${from} and ${to}`,
        after.consumed - before.consumed,
        records.length,
      );
      const gaps = to - from - records.length;
      expectSame(
        `offsets without a record of ${name} between ${from} and ${to}`,
        after.gaps - before.gaps,
        gaps,
      );
      const found = records.map(({ offset, record }) => ({
        record,
        partition: name,
        key: keyOf(after.topic, after.topicId, after.partition, after.reading, offset),
      }));
      const rejected = found.filter(
        ({ record, key }) => record.reason !== undefined || letters.get(key)?.reason === "expired",
      );
      expectSame(`dead letters of ${name}`, after.deadLettered - before.deadLettered, rejected.length);
      return found;
    });
  }

  /** A record whose hour is below the cut-off by now may be expired, unless the cut-off has risen just before the COMMIT. */
  #judged(tables: Tables, found: Found, letters: ReadonlyMap<string, DeadLetterRow>): Found {
    const { event } = found.record;
    if (event === undefined || letters.get(found.key)?.reason !== "expired") return found;
    if (!this.#retention.isBelowCutoff(tables, event)) violated(`${event.id} is expired, above the cut-off`);
    this.#options.onExpired();
    return { ...found, record: { ...found.record, event: undefined, reason: "expired" } };
  }

  /** @returns those that are new */
  #storeEvents(found: readonly Found[]): RawRow[] {
    const rows: RawRow[] = [];
    for (const { record, partition } of found) {
      if (record.event === undefined) continue;
      if (this.#events.has(record.event.id)) {
        const isSame = this.#partitionOf.get(record.event.id) === partition;
        this.#options.onDuplicate(isSame ? "within a partition" : "across partitions");
        continue;
      }
      this.#partitionOf.set(record.event.id, partition);
      this.#events.set(record.event.id, record.event);
      rows.push(record.event);
    }
    return rows;
  }

  #checkDeadLetters(found: readonly Found[], letters: ReadonlyMap<string, DeadLetterRow>): void {
    const rejected = found.filter(({ record }) => record.reason !== undefined);
    expectSame("dead letters of this commit", letters.size, rejected.length);
    for (const { key, record } of rejected) {
      const letter = letters.get(key);
      if (letter === undefined) violated(`${key.split("\0").join(" ")} is not in the dead letters`);
      expectSame(`reason of ${key.split("\0").join(" ")}`, letter.reason, record.reason);
      expectSame("value of a dead letter", hex(letter.value), hex(record.value));
    }
  }

  #checkHours(tables: Tables, changes: readonly Change[], rows: readonly RawRow[]): void {
    for (const row of rows) {
      if (this.#retention.isSealed(tables, row)) violated(`${row.id} is stored in an hour that is sealed`);
    }
    const touched = new Set(rows.map((row) => this.#hours.add(row)));
    for (const { hour, eventType } of touched) {
      const row = tables.hours.row(keyOf(hour, eventType));
      if (row === undefined) violated(`the hour ${hour} of ${eventType} is missing`);
      this.#expectHour(row);
    }
    for (const change of changes) {
      if (change.table !== "hourly_aggregations") continue;
      const { before, after } = change;
      const isCounted = after.totalEvents !== (before?.totalEvents ?? 0);
      const expected = this.#hours.get(after.hour, after.eventType);
      if (isCounted && (expected === undefined || !touched.has(expected))) {
        violated(`the hour ${after.hour} of ${after.eventType} changes without an event`);
      }
    }
    for (const change of changes) {
      if (change.table !== "hourly_users" || change.after === undefined) continue;
      const { hour, eventType, userId } = change.after;
      const expected = this.#hours.get(hour, eventType);
      if (!expected?.users.has(userId)) violated(`${userId} is a user of an hour without an event`);
    }
  }

  #expectHour(row: HourRow): void {
    expectHourRow(row, this.#hours.get(row.hour, row.eventType), this.#options.saveRawEvents);
  }

  #log({ topic, topicId, partition }: OffsetRow): PartitionLog {
    const incarnation = this.#options.cluster.incarnations.find(({ id }) => id === topicId);
    const log = incarnation?.logs[partition];
    if (log === undefined) violated(`there is no partition ${topic}[${partition}] of the id ${topicId}`);
    return log;
  }
}

interface Found {
  readonly key: string;
  readonly partition: string;
  readonly record: TopicRecord;
}

function moveOf(
  { topicId, partition, reading }: Pick<OffsetRow, "topicId" | "partition" | "reading">,
  from: number,
  to: number,
): string {
  return `${topicId}[${partition}] ${reading} ${from} ${to}`;
}
