// An idle consumer sleeps until a record comes, and then is called at once.
import { expect } from "bun:test";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { eventually } from "../support/eventually.ts";
import { Sender } from "./test-producer.ts";
import { onEmbedded } from "./kafka-variants.ts";

onEmbedded("a consumer is called when a record comes, long before the safety net would", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic, { "linger.ms": "0" });
  const block = new RecordBlock(100);
  let wakes = 0;
  let arrivedAt = 0;
  const consumer = await KafkaConsumer.open({
    settings: kafka.consumerSettings("group"),
    topics: [topic],
    onWake: () => {
      wakes++;
      for (;;) {
        const event = consumer.poll(block);
        if (event?.kind === "assign") consumer.acknowledgeAssign([{ topic, partition: 0, offset: -2 }]);
        else if (!event && block.count === 0) return;
        if (block.count > 0) arrivedAt = performance.now();
        block.clear();
      }
    },
  });
  const latenciesMs: number[] = [];
  for (let i = 0; i < 20; i++) {
    arrivedAt = 0;
    const sentAt = performance.now();
    sender.producer.sendText("", "x", 0);
    await eventually("the record", () => arrivedAt > 0, { everyMs: 1 });
    latenciesMs.push(arrivedAt - sentAt);
  }
  // The timer alone would take 125 ms on average.
  expect(latenciesMs.toSorted((a, b) => a - b)[10]).toBeLessThan(80);
  // Idle: the timer, and no storm of wake-ups.
  wakes = 0;
  await Bun.sleep(1000);
  expect(wakes).toBeLessThan(30);
  await consumer.close(5000);
});
