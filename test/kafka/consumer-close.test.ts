// Tests that a consumer closes, in every state of the group and of the brokers.
import { expect } from "bun:test";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { GroupMember } from "./group-member.ts";
import { onBoth, onEmbedded } from "./kafka-variants.ts";

/** A close that hangs takes at least four fifths of this. */
const DEADLINE_MS = 20_000;
/** Well below that, and well above what a close takes on a slow machine. */
const MAX_MS = 15_000;

onEmbedded(
  "a closed consumer rejects its requests, delivers nothing, and may be closed again",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    const member = await GroupMember.open(kafka, { topics: [topic] });
    await member.until("its partition", () => member.owned.size === 1);
    kafka.faults.setRoundTripMs(1, 500);
    const request = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
    const failure = request.then(
      () => undefined,
      (error: Error) => error.message,
    );
    const closed = member.close();
    expect(member.consumer.poll(new RecordBlock(10))).toBeUndefined();
    await closed;
    await member.close();
    expect(await failure).toBe("the end of 1 partition(s) cannot be read: the consumer was closed");
    await expect(member.consumer.topicIds([topic])).rejects.toThrow("the consumer was closed");
    expect(member.consumer.position({ topic, partition: 0 })).toBeUndefined();
    member.consumer.fetch([{ topic, partition: 0, offset: 0 }]);
    member.consumer.stop([{ topic, partition: 0 }]);
    member.consumer.commit([{ topic, partition: 0, offset: 0 }]);
    member.consumer.acknowledgeRevoke();
  },
);

onBoth("a close does not wait for records that were not polled", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 5000, 2);
  const member = await GroupMember.open(kafka, { topics: [topic], maxRecords: 1 });
  await member.until("its partitions", () => member.owned.size === 2);
  member.polling = false;
  await Bun.sleep(300); // time for librdkafka to fill its queue
  const startedAt = performance.now();
  await member.close(DEADLINE_MS);
  expect(performance.now() - startedAt).toBeLessThan(MAX_MS);
});

onBoth("a close answers a rebalance that waits for its answer", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await GroupMember.open(kafka, { topics: [topic], answers: false });
  await member.until("the rebalance", () => member.of("assign").length === 1);
  const startedAt = performance.now();
  await member.close(DEADLINE_MS);
  expect(performance.now() - startedAt).toBeLessThan(MAX_MS);
});

onEmbedded("a close gives up at its deadline when the coordinator does not answer", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.faults.setRoundTripMs(1, MAX_MS);
  const startedAt = performance.now();
  await member.close(500);
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeGreaterThanOrEqual(499);
  expect(tookMs).toBeLessThan(MAX_MS);
});

onEmbedded("a close does not hang while all brokers are down", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.faults.setDown();
  await member.until("an error", () => member.of("error").length > 0);
  const startedAt = performance.now();
  await member.close(500);
  expect(performance.now() - startedAt).toBeLessThan(MAX_MS);
});
