// Tests that records are copied out of librdkafka's memory once each, by the loop in C and without it alike.
import { expect, test } from "bun:test";
import { Client } from "../../shared/kafka/client.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { type Pointer, pointer } from "../../shared/kafka/ffi/memory.ts";
import { MessageReader } from "../../shared/kafka/ffi/message-reader.ts";
import { recordLoop } from "../../shared/kafka/ffi/record-loop.ts";
import { PartitionTable } from "../../shared/kafka/partition-table.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { eventually } from "../support/eventually.ts";
import { type RawRecord, RawProducer } from "../support/raw-producer.ts";
import { type KafkaUnderTest, onEmbedded } from "./kafka-variants.ts";

/** More than a partition table and the loop have room for at first. */
const PARTITIONS = 100;
/** So few that the block is full again and again. */
const BLOCK_RECORDS = 70;

interface Reading {
  readonly topics: readonly string[];
  readonly isLoopInC: boolean;
  /** The first offset that is not known yet. */
  readonly from?: number;
  /** Records to wait for. */
  readonly count: number;
  /** What the block has room for at first. */
  readonly blockBytes?: number;
}

/** Reads records from all partitions with a client, and returns them in the order of partitions and offsets. */
async function read(kafka: KafkaUnderTest, { topics, isLoopInC, from = 0, count, blockBytes = 64 }: Reading) {
  const client = Client.create("consumer", kafka.consumerSettings(`group-${isLoopInC}`), 0);
  const { library, handle } = client;
  const { c } = library;
  c.rd_kafka_poll_set_consumer(handle);
  const queue = pointer(c.rd_kafka_queue_get_consumer(handle), "queue");
  const table = new PartitionTable();
  const handles: Pointer[] = [];
  const starts = topics.flatMap((topic) => {
    const topicAt = pointer(c.rd_kafka_topic_new(handle, topic, null), "topic");
    handles.push(topicAt);
    table.addTopic(Number(topicAt), topic);
    return Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, offset: 0 }));
  });
  if (from > 0) for (const start of starts) table.nextOffset[table.slot(start)] = from;
  library.withPartitions(starts, (list) =>
    library.throwError(c.rd_kafka_incremental_assign(handle, list), "assign"),
  );
  const reader = new MessageReader(library, isLoopInC ? undefined : () => undefined);
  const block = new RecordBlock(BLOCK_RECORDS, blockBytes);
  const records: { readonly at: string; readonly [part: string]: unknown }[] = [];
  await eventually("all records", () => {
    const event = reader.takeRecords(queue, block, table);
    if (event) c.rd_kafka_event_destroy(event);
    for (let i = 0; i < block.count; i++) {
      const { topic, partition } = table.topicPartition(block.slot[i]!);
      records.push({
        at: `${topics.indexOf(topic)} ${String(partition).padStart(3, "0")} ${block.offset[i]}`,
        key: block.key(i)?.toString(),
        value: block.value(i)?.toString(),
        cut: block.cutValues.get(i)?.bytes,
        headers: block.headers(i)?.toString(),
        after: block.valueStart[i]! < 0 ? undefined : block.bytes[block.valueEnd[i]!],
        epoch: block.leaderEpoch[i],
      });
    }
    block.clear();
    return records.length >= count;
  });
  const { lastBroker } = reader;
  for (const topicAt of handles) c.rd_kafka_topic_destroy(topicAt);
  c.rd_kafka_queue_destroy(queue);
  client.destroy();
  return {
    records: records.toSorted((a, b) => a.at.localeCompare(b.at, undefined, { numeric: true })),
    lastBroker,
  };
}

test("Bun has the compiler that the loop needs", () => {
  expect(recordLoop(loadLibrary().c)).toBeDefined();
});

for (const isLoopInC of [true, false]) {
  const how = isLoopInC ? "by the loop in C" : "one by one";
  onEmbedded(
    `a record below the next offset of its partition is not delivered again, ${how}`,
    async (kafka) => {
      const topic = await kafka.createTopic(PARTITIONS);
      await using producer = await RawProducer.open(kafka.producerSettings(), topic);
      await producer.send(
        Array.from({ length: 10 }, (_, i) => ({
          key: Buffer.from("k"),
          value: Buffer.from(`${i}`),
          partition: 0,
        })),
      );
      // librdkafka starts at 0, but the records below 6 are known.
      const { records } = await read(kafka, { topics: [topic], isLoopInC, from: 6, count: 4 });
      expect(records.map(({ at, value }) => `${at}: ${String(value)}`)).toEqual([
        "0 000 6: 6",
        "0 000 7: 7",
        "0 000 8: 8",
        "0 000 9: 9",
      ]);
    },
  );
}

onEmbedded("records of every kind are the same by the loop in C and one by one", async (kafka) => {
  const text = (value: string) => Buffer.from(value);
  const kinds: readonly Omit<RawRecord, "partition">[] = [
    { key: text("key"), value: text('{"a":1}') },
    { key: text("schlüssel"), value: text("日本") },
    { value: text("no key") },
    { key: text("tombstone"), value: undefined },
    { value: undefined },
    { key: text(""), value: text("empty key") },
    { key: text("empty"), value: text("") },
    { key: text("key"), value: text("with headers"), headers: [{ name: "trace", value: text("x") }] },
    { key: text("k".repeat(200)), value: text("v".repeat(20_000)) },
    { key: text("key"), value: text("x".repeat(1_100_000)) },
    { key: text("key"), value: text("last") },
  ];
  const topics = [await kafka.createTopic(PARTITIONS), await kafka.createTopic(PARTITIONS)];
  for (const topic of topics) {
    await using producer = await RawProducer.open(
      kafka.producerSettings({ "message.max.bytes": "2000000" }),
      topic,
    );
    // The large ones once only.
    const small = kinds.filter(({ value }) => (value?.length ?? 0) < 1_000_000);
    await producer.send([
      ...Array.from({ length: PARTITIONS }, (_, partition) =>
        small.map((kind) => ({ ...kind, partition })),
      ).flat(),
      ...kinds.map((kind) => ({ ...kind, partition: PARTITIONS - 1 })),
    ]);
  }
  const count = 2 * (PARTITIONS * (kinds.length - 1) + kinds.length);
  const inC = await read(kafka, { topics, isLoopInC: true, count });
  const oneByOne = await read(kafka, { topics, isLoopInC: false, count });
  expect(inC).toEqual(oneByOne);
  expect(await read(kafka, { topics, isLoopInC: true, count, blockBytes: 4_000_000 })).toEqual(oneByOne);
  expect(inC.lastBroker).toBe(1);
  expect(inC.records).toHaveLength(count);
  const values = kinds.map(({ value }) => value?.subarray(0, 65_536).toString());
  expect(inC.records.filter(({ at }) => at.startsWith("1 099")).map(({ value }) => value)).toEqual([
    ...values.filter((value) => (value?.length ?? 0) < 60_000),
    ...values,
  ]);
});
