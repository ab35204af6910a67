// Records are copied out of librdkafka's memory, each once.
import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { Client } from "../../shared/kafka/client.ts";
import { pointer } from "../../shared/kafka/ffi/library.ts";
import { PartitionTable } from "../../shared/kafka/partition-table.ts";
import { EventType } from "../../shared/kafka/ffi/bindings.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { eventually } from "../support/eventually.ts";
import { Sender } from "./test-producer.ts";
import { libraryPath, onEmbedded } from "./kafka-variants.ts";

onEmbedded("a record that was handed over before is not handed over again", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 10, 1);
  const client = Client.create("consumer", kafka.consumerSettings("group"), 0);
  const { library, handle } = client;
  const { c } = library;
  c.rd_kafka_poll_set_consumer(handle);
  const queue = pointer(c.rd_kafka_queue_get_consumer(handle), "queue");
  const topicAt = pointer(c.rd_kafka_topic_new(handle, topic, null), "topic");
  const table = new PartitionTable();
  table.addTopic(Number(topicAt), topic);
  // librdkafka is to begin at 0, but what lies below 6 is known.
  table.nextOffset[table.slot({ topic, partition: 0 })] = 6;
  library.withPartitions([{ topic, partition: 0, offset: 0 }], (list) => c.rd_kafka_assign(handle, list));
  const block = new RecordBlock(100);
  await eventually("the last record", () => {
    const event = library.takeRecords(queue, block, table, 1 << 20);
    if (event) c.rd_kafka_event_destroy(event);
    return block.count > 0 && block.offset[block.count - 1] === 9;
  });
  expect([...block.offset.subarray(0, block.count)]).toEqual([6, 7, 8, 9]);
  expect(block.value(0)?.toString()).toBe("6");
  c.rd_kafka_topic_destroy(topicAt);
  c.rd_kafka_queue_destroy(queue);
  client.destroy();
});

test("an error that makes a client useless is told as fatal, with its cause", async () => {
  const { symbols } = dlopen(libraryPath, {
    rd_kafka_test_fatal_error: { args: ["ptr", "i32", "cstring"], returns: "i32" },
  });
  const client = Client.create("producer", { "enable.idempotence": "true" }, 0);
  const { library, handle } = client;
  const queue = pointer(library.c.rd_kafka_queue_get_main(handle), "queue");
  expect(client.fatalError()).toBeUndefined();
  const OUT_OF_ORDER_SEQUENCE_NUMBER = 45;
  symbols.rd_kafka_test_fatal_error(handle, OUT_OF_ORDER_SEQUENCE_NUMBER, "a test");
  const event = await eventually("the event", () => {
    const next = library.nextEvent(queue);
    if (next === undefined || library.c.rd_kafka_event_type(next) === EventType.error) return next;
    library.c.rd_kafka_event_destroy(next); // a log line
    return undefined;
  });
  expect(client.readError(event)).toEqual({
    code: OUT_OF_ORDER_SEQUENCE_NUMBER,
    name: "OUT_OF_ORDER_SEQUENCE_NUMBER",
    message: "test_fatal_error: a test",
    fatal: true,
  });
  library.c.rd_kafka_event_destroy(event);
  library.c.rd_kafka_queue_destroy(queue);
  client.destroy();
});
