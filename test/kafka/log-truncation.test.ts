// Tests that a consumer notices a log that was cut below its position, by the leader epoch.
import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { logTruncation } from "../../shared/kafka/log-truncation.ts";
import { throughout } from "../support/eventually.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { GroupMember } from "./group-member.ts";
import { type KafkaUnderTest, onEmbedded } from "./kafka-variants.ts";

/** A topic of one partition with ten records of each epoch. */
async function topicOfEpochs(kafka: KafkaUnderTest, epochs: number): Promise<string> {
  const topic = await kafka.createTopic(1);
  for (let epoch = 0; epoch < epochs; epoch++) {
    if (epoch > 0) kafka.faults.setLeader(topic, 0, 1);
    await using producer = await RawProducer.open(kafka.producerSettings(), topic);
    await producer.sendNumbers(10 * epoch, 10 * (epoch + 1), 1);
  }
  return topic;
}

function offsetsOf(member: GroupMember): number[] {
  return member.records.map(({ offset }) => offset);
}

onEmbedded("every record comes with the epoch of the leader that wrote it", async (kafka) => {
  const topic = await topicOfEpochs(kafka, 3);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("all records", () => member.records.length === 30);
  expect(member.leaderEpochs).toEqual(Array.from({ length: 30 }, (_, offset) => Math.floor(offset / 10)));
});

onEmbedded(
  "a partition whose log ends below its offset in that epoch is reported, and not fetched",
  async (kafka) => {
    const topic = await topicOfEpochs(kafka, 2);
    // A consumer that read five records more than the ten of epoch 0 has read another log.
    await using member = await GroupMember.open(kafka, {
      topics: [topic],
      startAt: () => ({ offset: 15, leaderEpoch: 0 }),
    });
    await member.until("the event", () => member.of("truncated").length > 0);
    expect(member.of("truncated")).toEqual([
      { kind: "truncated", topic, partition: 0, readEpoch: 0, end: 10, endEpoch: 0 },
    ]);
    await throughout("nothing is fetched", 300, () => {
      member.poll();
      return member.records.length === 0 && member.of("truncated").length === 1;
    });
    member.consumer.fetch([{ topic, partition: 0, offset: 10 }]);
    await member.until("the records of the other log", () => member.records.length === 10);
    expect(offsetsOf(member)[0]).toBe(10);
    expect(member.of("out_of_range")).toEqual([]);
  },
);

onEmbedded("an offset past the end of the log is a cut log where its epoch is known", async (kafka) => {
  const topic = await topicOfEpochs(kafka, 1);
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: () => ({ offset: 15, leaderEpoch: 0 }),
  });
  await member.until("the event", () => member.of("truncated").length > 0);
  expect(member.of("truncated")).toEqual([
    { kind: "truncated", topic, partition: 0, readEpoch: 0, end: 10, endEpoch: 0 },
  ]);
  expect(member.of("out_of_range")).toEqual([]);
});

onEmbedded("an epoch that the leader does not know gives no end", async (kafka) => {
  const topic = await topicOfEpochs(kafka, 1);
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: () => ({ offset: 5, leaderEpoch: 7 }),
  });
  await member.until("the event", () => member.of("truncated").length > 0);
  expect(member.of("truncated")).toEqual([
    { kind: "truncated", topic, partition: 0, readEpoch: 7, end: undefined, endEpoch: undefined },
  ]);
});

onEmbedded("a partition whose log still holds what was read is fetched from its offset", async (kafka) => {
  const topic = await topicOfEpochs(kafka, 2);
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: () => ({ offset: 10, leaderEpoch: 0 }),
  });
  await member.until("the records of epoch 1", () => member.records.length === 10);
  member.consumer.fetch([{ topic, partition: 0, offset: 15, leaderEpoch: 1 }]);
  await member.until("the records from 15", () => member.records.length === 15);
  expect(offsetsOf(member)[10]).toBe(15);
  expect(member.of("truncated")).toEqual([]);
});

onEmbedded(
  "a partition starts and stops with an epoch also while a commit holds up its start",
  async (kafka) => {
    const topic = await topicOfEpochs(kafka, 2);
    const place = { topic, partition: 0 };
    await using member = await GroupMember.open(kafka, { topics: [topic], startAt: () => 10 });
    await member.until("the records of epoch 1", () => member.records.length === 10);
    kafka.faults.setRoundTripMs(1, 100);
    for (const offset of [12, 14, 16]) {
      member.consumer.stop([place]);
      member.records.length = 0;
      member.consumer.commit([{ ...place, offset }]);
      member.consumer.fetch([{ ...place, offset, leaderEpoch: 1 }]);
      await member.until(`the records from ${offset}`, () => member.records.length === 20 - offset);
      expect(offsetsOf(member)[0]).toBe(offset);
    }
    member.consumer.stop([place]);
    member.records.length = 0;
    member.consumer.commit([{ ...place, offset: 18 }]);
    member.consumer.fetch([{ ...place, offset: 18, leaderEpoch: 1 }]);
    member.consumer.stop([place]);
    member.consumer.fetch([{ ...place, offset: 18 }]);
    await member.until("the records of a start without an epoch", () => member.records.length === 2);
    expect(member.of("truncated")).toEqual([]);
  },
);

describe("a report of librdkafka", () => {
  const of = (message: string, code: number = ErrorCode.autoOffsetReset) =>
    logTruncation({ code, name: "", message, fatal: false });

  test("is that of a cut log, whose end may be past 2^32", () => {
    expect(
      of(
        "Partition log truncation detected at offset 6000000001 (leader epoch 4): broker end offset is 6000000000 " +
          "(offset leader epoch 3). Reset to INVALID.: Local: Partition log truncation detected (broker 2)",
      ),
    ).toEqual({ readEpoch: 4, end: 6_000_000_000, endEpoch: 3 });
  });

  test("is that of a fetch out of range", () => {
    expect(
      of(
        "fetch failed due to requested offset not available on the broker: Broker: Offset out of range (broker 1)",
      ),
    ).toBeUndefined();
  });

  test("is an error of another kind", () => {
    expect(of("Local: Partition log truncation detected", -185)).toBeUndefined();
  });
});
