// Tests that records are copied out of librdkafka's memory once each.
import { expect } from "bun:test";
import { Client } from "../../shared/kafka/client.ts";
import { pointer } from "../../shared/kafka/ffi/memory.ts";
import { MessageReader } from "../../shared/kafka/ffi/message-reader.ts";
import { PartitionTable } from "../../shared/kafka/partition-table.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { eventually } from "../support/eventually.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { onEmbedded } from "./kafka-variants.ts";

onEmbedded("a record below the next offset of its partition is not delivered again", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 10, 1);
  const client = Client.create("consumer", kafka.consumerSettings("group"), 0);
  const { library, handle } = client;
  const { c } = library;
  c.rd_kafka_poll_set_consumer(handle);
  const queue = pointer(c.rd_kafka_queue_get_consumer(handle), "queue");
  const topicAt = pointer(c.rd_kafka_topic_new(handle, topic, null), "topic");
  const table = new PartitionTable();
  table.addTopic(Number(topicAt), topic);
  // librdkafka starts at 0, but the records below 6 are known.
  table.nextOffset[table.slot({ topic, partition: 0 })] = 6;
  library.withPartitions([{ topic, partition: 0, offset: 0 }], (list) =>
    library.throwError(c.rd_kafka_incremental_assign(handle, list), "assign"),
  );
  const block = new RecordBlock(100);
  const reader = new MessageReader(library);
  await eventually("the last record", () => {
    const event = reader.takeRecords(queue, block, table);
    if (event) c.rd_kafka_event_destroy(event);
    return block.count > 0 && block.offset[block.count - 1] === 9;
  });
  expect([...block.offset.subarray(0, block.count)]).toEqual([6, 7, 8, 9]);
  expect(block.value(0)?.toString()).toBe("6");
  c.rd_kafka_topic_destroy(topicAt);
  c.rd_kafka_queue_destroy(queue);
  client.destroy();
});
