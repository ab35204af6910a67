// A producer delivers every message or says which it did not, whatever the brokers do.
import { expect, test } from "bun:test";
import { type DeliveryFailure, KafkaProducer } from "../../shared/kafka/producer.ts";
import { RequestKey } from "../../shared/kafka/embedded.ts";
import { eventually } from "../support/eventually.ts";
import { Member } from "./group-member.ts";
import { Sender } from "./test-producer.ts";
import { onBoth, onEmbedded } from "./kafka-variants.ts";

onBoth("a full queue takes nothing, and later everything", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using sender = await Sender.open(kafka, topic, { "queue.buffering.max.messages": "50" });
  let refused = 0;
  for (let i = 0; i < 1000; i++) {
    while (!sender.producer.sendText(`key ${i}`, String(i), i)) {
      refused++;
      expect(sender.producer.outstanding()).toBeGreaterThan(0);
      await Bun.sleep(1);
      sender.producer.poll();
    }
  }
  expect(refused).toBeGreaterThan(0);
  expect(await sender.producer.flush(20_000)).toBe(0);
  expect(sender.delivered.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(sender.failed).toEqual([]);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("all of them", () => member.records.length >= 1000);
  expect(new Set(member.values()).size).toBe(1000);
  for (const { key, value } of member.records) expect(key).toBe(`key ${value}`);
});

onBoth("records of a key keep to one partition, the one that Java's clients choose", async (kafka) => {
  const topic = await kafka.createTopic(6);
  await using sender = await Sender.open(kafka, topic);
  // What Utils.toPositive(Utils.murmur2(key)) % 6 of kafka-clients 4.3.1 gives.
  const expected: Record<string, number> = { user_1: 3, user_2: 4, user_3: 0, user_42: 4, user_100: 5 };
  for (const key of Object.keys(expected)) {
    sender.producer.sendText(key, "", 0);
    sender.producer.sendText(key, "again", 0);
  }
  expect(await sender.producer.flush(10_000)).toBe(0);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("all", () => member.records.length === 10);
  const found: Record<string, Set<number>> = {};
  for (const { key = "", partition } of member.records) (found[key] ??= new Set()).add(partition);
  expect(Object.fromEntries(Object.entries(found).map(([key, at]) => [key, [...at]]))).toEqual(
    Object.fromEntries(Object.entries(expected).map(([key, partition]) => [key, [partition]])),
  );
});

onEmbedded("errors that pass cost nothing: everything is stored once", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  const NOT_LEADER = 6;
  const TRANSPORT = -195;
  kafka.embedded?.failRequests(RequestKey.produce, [NOT_LEADER, TRANSPORT, NOT_LEADER]);
  for (let i = 0; i < 300; i++) sender.producer.sendText("", String(i), i);
  expect(await sender.producer.flush(20_000)).toBe(0);
  expect(sender.delivered.length).toBe(300);
  expect(sender.failed).toEqual([]);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("all of them", () => member.records.length >= 300);
  expect(member.values()).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
});

onEmbedded("messages that the broker refuses for good are counted, by opaque and reason", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic, { "queue.buffering.max.ms": "100" });
  const TOPIC_AUTHORIZATION_FAILED = 29;
  kafka.embedded?.failRequests(RequestKey.produce, [TOPIC_AUTHORIZATION_FAILED]);
  for (let i = 0; i < 7; i++) sender.producer.sendText("", "x", i % 2);
  expect(await sender.producer.flush(10_000)).toBe(0);
  expect(sender.delivered).toEqual([]);
  const failure = (opaque: number, count: number): DeliveryFailure => ({
    opaque,
    code: TOPIC_AUTHORIZATION_FAILED,
    message: "Broker: Topic authorization failed",
    count,
  });
  expect(sender.failed.toSorted((a, b) => a.opaque - b.opaque)).toEqual([failure(0, 4), failure(1, 3)]);
});

onEmbedded(
  "while the brokers are down nothing is given up, and all arrives when they are back",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using sender = await Sender.open(kafka, topic);
    sender.producer.sendText("", "before", 0);
    expect(await sender.producer.flush(10_000)).toBe(0);
    kafka.embedded?.setDown();
    for (let i = 1; i <= 100; i++) sender.producer.sendText("", String(i), i);
    expect(await sender.producer.flush(1500)).toBe(100);
    expect(sender.failed).toEqual([]);
    expect(sender.errors.length).toBeGreaterThan(0);
    expect(sender.errors.every(({ fatal }) => !fatal)).toBe(true);
    kafka.embedded?.setUp();
    expect(await sender.producer.flush(20_000)).toBe(0);
    expect(sender.delivered).toEqual(Array.from({ length: 101 }, (_, i) => i));
  },
);

onEmbedded("closing calls back what was not delivered as failed", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const sender = await Sender.open(kafka, topic);
  kafka.embedded?.setDown();
  for (let i = 0; i < 1500; i++) sender.producer.sendText("", String(i), 7);
  expect(await sender.producer.flush(100)).toBe(1500);
  await sender.producer.close();
  await sender.producer.close();
  expect(sender.delivered).toEqual([]);
  expect(sender.failed.reduce((sum, { count }) => sum + count, 0)).toBe(1500);
  expect(new Set(sender.failed.map(({ opaque }) => opaque))).toEqual(new Set([7]));
  expect(sender.producer.outstanding()).toBe(0);
  sender.producer.poll();
  expect(() => sender.producer.sendText("", "", 0)).toThrow("the producer is closed");
});

onBoth("a message that is refused at once is an error, and the next goes on", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  const tooLarge = Buffer.alloc(1_100_000);
  expect(() => sender.producer.send(undefined, tooLarge, 1)).toThrow(/MSG_SIZE_TOO_LARGE/);
  expect(() =>
    sender.producer.send(undefined, tooLarge, 1, { headers: [{ name: "h", value: undefined }] }),
  ).toThrow(/MSG_SIZE_TOO_LARGE/);
  expect(() => sender.producer.sendText("", "x".repeat(1_100_000), 1)).toThrow(/MSG_SIZE_TOO_LARGE/);
  for (const opaque of [-1, 1.5, Number.NaN, 2 ** 60]) {
    expect(() => sender.producer.sendText("", "", opaque)).toThrow(RangeError);
  }
  expect(sender.producer.sendText("", "fine", 2)).toBe(true);
  expect(await sender.producer.flush(10_000)).toBe(0);
  expect(sender.delivered).toEqual([2]);
  // What the topic does not have is known only after the first contact.
  await eventually("an unknown partition is refused", () => {
    try {
      sender.producer.send(undefined, Buffer.from("x"), 3, { partition: 5 });
      return false;
    } catch (error) {
      return String(error).includes("_UNKNOWN_PARTITION");
    }
  });
});

onEmbedded("texts longer than the scratch, and of any script, arrive whole", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  const texts = ["", "ascii", "ü".repeat(40_000), "日本語".repeat(20_000), "👩‍👩‍👧".repeat(10_000), "end"];
  for (const text of texts) sender.producer.sendText(text.slice(0, 100), text, 0);
  expect(await sender.producer.flush(10_000)).toBe(0);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("all", () => member.records.length === texts.length);
  expect(member.values()).toEqual(texts);
});

test("a producer whose settings are refused says so by their variables", async () => {
  const opened = KafkaProducer.open({
    settings: { "bootstrap.servers": "127.0.0.1:1", "compression.type": "best", lingerms: "5" },
    topic: "t",
    onWake: () => {},
    onDelivered: () => {},
    onFailed: () => {},
    onError: () => {},
    onLog: () => {},
  });
  expect(await opened.catch((error: unknown) => error)).toMatchObject({
    name: "ConfigurationError",
    problems: [
      expect.stringContaining("KAFKA_CONFIG_COMPRESSION_TYPE: "),
      "KAFKA_CONFIG_LINGERMS: librdkafka has no property lingerms",
    ],
  });
});
