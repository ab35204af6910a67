// Tests the lag that a check shows: what Kafka holds beyond the stored offsets, or why it is unknown.
import { expect, test } from "bun:test";
import { freePorts } from "../../shared/runtime/free-port.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";
import { kafkaLag } from "../../workers/check/kafka-lag.ts";
import { type KafkaUnderTest, onBoth } from "../kafka/kafka-variants.ts";
import { RawProducer } from "../support/raw-producer.ts";

function lagReader(bootstrapServers: string, ...topics: string[]) {
  return kafkaLag({ bootstrapServers, topics, consumerGroup: "check-test", passThrough: {} }, () => {});
}

async function topicIdOf(kafka: KafkaUnderTest, topic: string): Promise<string> {
  const [found] = await kafka.describeTopics([topic]);
  return found!.topicId!;
}

onBoth("the lag reader returns the lag of each partition in the given order", async (kafka) => {
  const topic = await kafka.createTopic(3);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 21, 3);
  const topicId = await topicIdOf(kafka, topic);
  const at = (partition: number, nextOffset: number): StoredOffset => ({
    topic,
    topicId,
    partition,
    reading: 0,
    nextOffset,
  });
  expect(
    await lagReader(kafka.bootstrapServers)([
      at(1, 3),
      at(0, 7),
      // Kafka's log ends before the stored offset.
      at(2, 50),
      at(7, 0),
      { ...at(0, 0), topicId: "AAAAAAAAQACAAAAAAAAAAA" },
      { ...at(0, 0), topic: `${topic}-not` },
    ]),
  ).toEqual({
    lags: [4, 0, 0, "Kafka does not say", "an earlier topic of this name", "no such topic"],
    unread: [],
  });
});

onBoth("the lag reader finds the partitions of the topics that are not stored", async (kafka) => {
  const [topic, other] = [await kafka.createTopic(3), await kafka.createTopic(2)];
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 21, 3);
  const [topicId, otherId] = [await topicIdOf(kafka, topic), await topicIdOf(kafka, other)];
  const stored = { topic, topicId, partition: 1, reading: 0, nextOffset: 3 };
  const earlier = { ...stored, topicId: "AAAAAAAAQACAAAAAAAAAAA", partition: 2 };
  const { lags, unread } = await lagReader(kafka.bootstrapServers, topic, other)([stored, earlier]);
  expect(lags).toEqual([4, "an earlier topic of this name"]);
  expect(unread?.toSorted((a, b) => (a.topic === b.topic ? 0 : a.topic === topic ? -1 : 1))).toEqual([
    { topic, topic_id: topicId, partition: 0, records: 7 },
    { topic, topic_id: topicId, partition: 2, records: 7 },
    { topic: other, topic_id: otherId, partition: 0, records: 0 },
    { topic: other, topic_id: otherId, partition: 1, records: 0 },
  ]);
});

test("the lag reader reports within seconds that Kafka does not answer", async () => {
  const [port] = await freePorts(1);
  const startedAt = performance.now();
  const lags = await lagReader(
    `127.0.0.1:${port}`,
    "t",
  )([
    { topic: "t", topicId: "id", partition: 0, reading: 0, nextOffset: 0 },
    { topic: "t", topicId: "id", partition: 1, reading: 0, nextOffset: 0 },
  ]);
  expect(lags).toEqual({ lags: ["Kafka does not answer", "Kafka does not answer"], unread: undefined });
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});
