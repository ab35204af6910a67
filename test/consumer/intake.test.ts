// Tests which records an intake takes, and that it goes on after every change of the assignment.
import { describe, expect, test } from "bun:test";
import type { TopicPartitionOffset } from "../../shared/event.ts";
import type { ConsumerEvent } from "../../shared/kafka/consumer.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { OffsetRegression } from "../../shared/pipeline/batch.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { Assignment } from "../../workers/consumer/assignment.ts";
import { Intake } from "../../workers/consumer/intake.ts";
import { addRecord, CLOCK, eventWithId } from "../pipeline/record.ts";

const BATCH_SIZE = 3;
const READING = { topicId: "id", reading: 0, leaderEpoch: undefined };

/** What librdkafka has: records of partitions that are fetched, and events behind them. */
class FakeKafka {
  readonly fetched = new Map<number, number>();
  readonly events: ConsumerEvent[] = [];
  records: { slot: number; offset: number }[] = [];
  polls = 0;

  poll(block: RecordBlock): ConsumerEvent | undefined {
    this.polls++;
    while (!block.full) {
      const record = this.records.shift();
      if (record === undefined) return this.events.shift();
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
  });
  for (const slot of [0, 1]) {
    assignment.assign(slot, kafka.topicPartition(slot));
    kafka.fetch([assignment.startFetchingAt(assignment.get(slot)!, { ...READING, stored: 0 })]);
  }
  return { kafka, assignment, intake };
}

/** Fills the batch with records of partition 0, and lets it stay full until fetching stops. */
function stall({ kafka, intake }: ReturnType<typeof intakeOfTwo>): void {
  kafka.records = [0, 1, 2].map((offset) => ({ slot: 0, offset }));
  expect(intake.take()).toBeUndefined();
  intake.stallWhenDue(intake.stallsAtMs()!);
  expect(kafka.fetched.size).toBe(0);
}

describe("an intake whose batch is full", () => {
  test("still polls Kafka, which settles the questions that were asked", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [0, 1, 2].map((offset) => ({ slot: 0, offset }));
    intake.take();
    const { polls } = kafka;
    intake.take();
    expect(kafka.polls).toBeGreaterThan(polls);
  });
});

describe("an intake whose full batch has stopped fetching", () => {
  test("fetches again behind what it hands over", () => {
    const trial = intakeOfTwo();
    stall(trial);
    const batch = trial.intake.handOver();
    expect(batch?.records).toBe(BATCH_SIZE);
    trial.intake.resume();
    expect([...trial.kafka.fetched]).toEqual([
      [0, BATCH_SIZE],
      [1, 0],
    ]);
  });

  test("fetches again when all records of the batch belong to a partition that was revoked", () => {
    const trial = intakeOfTwo();
    stall(trial);
    trial.assignment.revoke(0);
    trial.intake.drop([0]);
    expect(trial.intake.handOver()).toBeUndefined();
    trial.intake.resume();
    expect([...trial.kafka.fetched]).toEqual([[1, 0]]);
    trial.kafka.records = [{ slot: 1, offset: 0 }];
    trial.intake.take();
    expect(trial.intake.holds(1)).toBe(true);
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
    kafka.events.push({ kind: "revoke", partitions: [{ topic: "t", partition: 1 }], lost: false });
    expect(intake.take()?.kind).toBe("revoke");
    expect(() => intake.take()).toThrow(OffsetRegression);
  });

  test("gives the events that come later, and drops the records", () => {
    const { kafka, intake } = intakeOfTwo();
    kafka.records = [5, 4, 6].map((offset) => ({ slot: 0, offset }));
    expect(() => intake.take()).toThrow(OffsetRegression);
    expect(kafka.fetched.size).toBe(0);
    kafka.records = [{ slot: 1, offset: 0 }];
    kafka.events.push({ kind: "revoke", partitions: [{ topic: "t", partition: 1 }], lost: false });
    expect(intake.take()?.kind).toBe("revoke");
    expect(intake.take()).toBeUndefined();
    expect(intake.holds(1)).toBe(false);
  });
});
