// Tests which records an intake takes, and that it goes on after every change of the assignment.
import { describe, expect, test } from "bun:test";
import type { TopicPartitionOffset } from "../../shared/event.ts";
import type { ConsumerEvent } from "../../shared/kafka/consumer-event.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { OffsetRegression } from "../../shared/pipeline/span.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { Assignment } from "../../workers/consumer/assignment.ts";
import { Intake } from "../../workers/consumer/intake.ts";
import { addRecord, CLOCK, eventWithId } from "../pipeline/record.ts";

const BATCH_SIZE = 3;
const READING = { topicId: "id", reading: 0, leaderEpoch: undefined };

/** What librdkafka has: events, records of partitions that are fetched, and events behind those. */
class FakeKafka {
  readonly fetched = new Map<number, number>();
  readonly events: ConsumerEvent[] = [];
  readonly eventsBehindRecords: ConsumerEvent[] = [];
  records: { slot: number; offset: number }[] = [];
  polls = 0;

  poll(block: RecordBlock | undefined): ConsumerEvent | undefined {
    this.polls++;
    if (this.events.length > 0 || block === undefined) return this.events.shift();
    while (!block.full) {
      const record = this.records.shift();
      if (record === undefined) return this.eventsBehindRecords.shift();
      addRecord(block, { ...record, value: eventWithId(`event ${record.slot} ${record.offset}`) });
    }
    return undefined;
  }

  topicPartition(slot: number) {
    return { topic: "t", partition: slot };
  }

  fetch(partitions: readonly TopicPartitionOffset[]): void {
    for (const { partition, offset } of partitions) this.fetched.set(partition, offset);
  }

  stop(partitions: readonly { partition: number }[]): void {
    for (const { partition } of partitions) this.fetched.delete(partition);
  }
}

/** An intake with two partitions, both fetched from offset 0. */
function intakeOfTwo() {
  const kafka = new FakeKafka();
  const assignment = new Assignment();
  const intake = new Intake(kafka, assignment, systemClock, {
    batchSize: BATCH_SIZE,
    batchClock: () => CLOCK,
    onFetched: () => undefined,
    deadLetterLimit: { isSet: false, count: () => new Set() },
  });
  for (const slot of [0, 1]) {
    assignment.assign(slot, kafka.topicPartition(slot));
    kafka.fetch([assignment.startFetchingAt(assignment.get(slot)!, { ...READING, stored: 0 })]);
  }
  return { kafka, assignment, intake };
}

const REVOCATION: ConsumerEvent = { kind: "revoke", partitions: [{ topic: "t", partition: 1 }], lost: false };

describe("an intake whose batch is full", () => {
  test("still polls Kafka, which settles the questions that were asked", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [0, 1, 2].map((offset) => ({ slot: 0, offset }));
    intake.take();
    const { polls } = kafka;
    intake.take();
    expect(kafka.polls).toBeGreaterThan(polls);
  });

  test("still gives events, and takes records again when the batch is handed over", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [0, 1, 2, 3].map((offset) => ({ slot: 0, offset }));
    expect(intake.take()).toBeUndefined();
    kafka.events.push(REVOCATION);
    expect(intake.take()).toBe(REVOCATION);
    expect(intake.handOver()?.records).toBe(BATCH_SIZE);
    expect(intake.take()).toBeUndefined();
    expect(intake.holds(0)).toBe(true);
  });
});

describe("an intake whose batch does not continue the one before", () => {
  test("refuses to hand it over", () => {
    const { kafka, assignment, intake } = intakeOfTwo();
    kafka.records = [{ slot: 0, offset: 0 }];
    intake.take();
    assignment.startFetchingAt(assignment.get(0)!, { ...READING, stored: 7 });
    expect(() => intake.handOver()).toThrow(
      "t[0]: a batch of the offsets [0, 1) follows one that ended at 7",
    );
  });
});

describe("an intake that cannot read its records", () => {
  test("still gives the event that came behind them", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [5, 4].map((offset) => ({ slot: 0, offset }));
    kafka.eventsBehindRecords.push(REVOCATION);
    expect(intake.take()).toBe(REVOCATION);
    expect(() => intake.take()).toThrow(OffsetRegression);
  });

  test("gives the events that come later, and takes no records until it is reset", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [5, 4].map((offset) => ({ slot: 0, offset }));
    expect(() => intake.take()).toThrow(OffsetRegression);
    kafka.records = [{ slot: 1, offset: 0 }];
    kafka.events.push(REVOCATION);
    expect(intake.take()).toBe(REVOCATION);
    expect(intake.take()).toBeUndefined();
    expect(intake.holds(1)).toBe(false);
    intake.reset();
    expect(intake.take()).toBeUndefined();
    expect(intake.holds(1)).toBe(true);
  });
});

describe("an intake whose batch was not committed in time", () => {
  /** Commits or gives up a batch of as many records as fit. @returns how many those were */
  function handOverFull({ kafka, intake }: ReturnType<typeof intakeOfTwo>, from: number): number {
    kafka.records = [0, 1, 2].map((n) => ({ slot: 0, offset: from + n }));
    intake.take();
    const batch = intake.handOver()!;
    const { records } = batch;
    intake.release(batch);
    kafka.records = [];
    return records;
  }

  test("makes batches of half the size, of one record at least, and larger ones after many commits", () => {
    const trial = intakeOfTwo();
    const { intake } = trial;
    let next = 0;
    const size = () => {
      const records = handOverFull(trial, next);
      next += records;
      return records;
    };
    expect(size()).toBe(3);
    expect(intake.shrink(3)).toBe(1);
    expect(size()).toBe(1);
    expect(intake.shrink(1)).toBe(1);
    for (let commits = 0; commits < 19; commits++) {
      expect(size()).toBe(1);
      intake.noteCommit();
    }
    intake.noteCommit();
    expect(size()).toBe(2);
    for (let commits = 0; commits < 20; commits++) intake.noteCommit();
    expect(size()).toBe(3);
  });
});
