// Tests that an idle consumer sleeps, and that a record wakes it.
import { expect, spyOn } from "bun:test";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { eventually } from "../support/eventually.ts";
import { onEmbedded } from "./kafka-variants.ts";
import { TestProducer } from "./test-producer.ts";

/** The period of the timer that polls where a wake-up was missed. */
const FALLBACK_MS = 250;

onEmbedded("a record wakes a consumer without the fallback timer", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await TestProducer.open(kafka, topic, { "linger.ms": "0" });
  const block = new RecordBlock(100);
  let wakes = 0;
  let records = 0;
  const fallback = Promise.withResolvers<() => void>();
  const { setInterval } = globalThis;
  const spy = spyOn(globalThis, "setInterval").mockImplementation(((callback: () => void, ms: number) => {
    if (ms !== FALLBACK_MS) return setInterval(callback, ms);
    fallback.resolve(callback);
    return setInterval(() => {}, 2 ** 30);
  }) as typeof globalThis.setInterval);
  const consumer = await KafkaConsumer.open({
    settings: kafka.consumerSettings("group"),
    topics: [topic],
    onWake: () => {
      wakes++;
      for (;;) {
        const event = consumer.poll(block);
        if (event?.kind === "assign") consumer.acknowledgeAssign([{ topic, partition: 0, offset: -2 }]);
        else if (!event && block.count === 0) return;
        records += block.count;
        block.clear();
      }
    },
  });
  spy.mockRestore();
  (await fallback.promise)(); // the timer exists, and this is its only call
  for (let sent = 1; sent <= 20; sent++) {
    sender.producer.sendText("", "x", 0);
    await eventually("the record", () => records === sent, { everyMs: 1 });
  }
  // An idle consumer is not woken, but for a few log lines and responses.
  wakes = 0;
  await Bun.sleep(1000);
  expect(wakes).toBeLessThan(30);
  await consumer.close(5000);
});
