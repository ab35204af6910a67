// Tests that a producer delivers every message or reports it as failed, also while the brokers fail.
import { expect, test } from "bun:test";
import { KafkaProducer } from "../../shared/kafka/producer.ts";
import { eventually } from "../support/eventually.ts";
import { RequestKey } from "./broker-faults.ts";
import { GroupMember } from "./group-member.ts";
import { TestProducer } from "./test-producer.ts";
import { onBoth, onEmbedded } from "./kafka-variants.ts";

onBoth("a full queue refuses messages, and takes them when it has room", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using sender = await TestProducer.open(kafka, topic, { "queue.buffering.max.messages": "50" });
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
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("1000 records", () => member.records.length >= 1000);
  expect(new Set(member.values()).size).toBe(1000);
  for (const { key, value } of member.records) expect(key).toBe(`key ${value}`);
});

onBoth("a key's records go to the partition that Java's clients choose", async (kafka) => {
  const topic = await kafka.createTopic(6);
  await using sender = await TestProducer.open(kafka, topic);
  // The results of Utils.toPositive(Utils.murmur2(key)) % 6 in kafka-clients 4.3.1.
  const expected: Record<string, number> = { user_1: 3, user_2: 4, user_3: 0, user_42: 4, user_100: 5 };
  for (const key of Object.keys(expected)) {
    sender.producer.sendText(key, "", 0);
    sender.producer.sendText(key, "again", 0);
  }
  expect(await sender.producer.flush(10_000)).toBe(0);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("all", () => member.records.length === 10);
  const found: Record<string, Set<number>> = {};
  for (const { key = "", partition } of member.records) (found[key] ??= new Set()).add(partition);
  expect(Object.fromEntries(Object.entries(found).map(([key, at]) => [key, [...at]]))).toEqual(
    Object.fromEntries(Object.entries(expected).map(([key, partition]) => [key, [partition]])),
  );
});

onEmbedded("every message is stored once when produce requests fail and are retried", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await TestProducer.open(kafka, topic);
  const NOT_LEADER = 6;
  const TRANSPORT = -195;
  kafka.faults.failRequests(RequestKey.produce, [NOT_LEADER, TRANSPORT, NOT_LEADER]);
  for (let i = 0; i < 300; i++) sender.producer.sendText("", String(i), i);
  expect(await sender.producer.flush(20_000)).toBe(0);
  expect(sender.delivered.length).toBe(300);
  expect(sender.failed).toEqual([]);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("all of them", () => member.records.length >= 300);
  expect(member.values()).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
});

onEmbedded(
  "messages that the broker refuses are reported with their number and the reason",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using sender = await TestProducer.open(kafka, topic, { "queue.buffering.max.ms": "100" });
    const TOPIC_AUTHORIZATION_FAILED = 29;
    // One for each message, since a slow machine may send them in several requests.
    kafka.faults.failRequests(RequestKey.produce, Array<number>(7).fill(TOPIC_AUTHORIZATION_FAILED));
    for (let i = 0; i < 7; i++) sender.producer.sendText("", "x", i);
    expect(await sender.producer.flush(10_000)).toBe(0);
    expect(sender.delivered).toEqual([]);
    for (const { code, message } of sender.failed) {
      expect({ code, message }).toEqual({
        code: TOPIC_AUTHORIZATION_FAILED,
        message: "Broker: Topic authorization failed",
      });
    }
    expect(sender.failed.reduce((sum, { count }) => sum + count, 0)).toBe(7);
  },
);

onEmbedded(
  "a producer gives up no message while the brokers are down, and delivers all when they are back",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using sender = await TestProducer.open(kafka, topic);
    sender.producer.sendText("", "before", 0);
    expect(await sender.producer.flush(10_000)).toBe(0);
    kafka.faults.setDown();
    for (let i = 1; i <= 100; i++) sender.producer.sendText("", String(i), i);
    expect(await sender.producer.flush(1500)).toBe(100);
    await eventually("an error is reported", () => sender.errors.length > 0);
    expect(sender.failed).toEqual([]);
    expect(sender.errors.every(({ fatal }) => !fatal)).toBe(true);
    kafka.faults.setUp();
    expect(await sender.producer.flush(20_000)).toBe(0);
    expect(sender.delivered).toEqual(Array.from({ length: 101 }, (_, i) => i));
  },
);

onEmbedded("a close reports the messages that were not delivered as failed", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const sender = await TestProducer.open(kafka, topic);
  kafka.faults.setDown();
  for (let i = 0; i < 1500; i++) sender.producer.sendText("", String(i), 7);
  expect(await sender.producer.flush(100)).toBe(1500);
  await sender.producer.close();
  await sender.producer.close();
  expect(sender.delivered).toEqual([]);
  expect(sender.failed.reduce((sum, { count }) => sum + count, 0)).toBe(1500);
  expect(sender.producer.outstanding()).toBe(0);
  sender.producer.poll();
  expect(() => sender.producer.sendText("", "", 0)).toThrow("the producer is closed");
});

onBoth("a message that librdkafka refuses throws, and the next one is delivered", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await TestProducer.open(kafka, topic);
  const tooLarge = Buffer.alloc(1_100_000);
  expect(() => sender.producer.send(undefined, tooLarge, 1)).toThrow(/MSG_SIZE_TOO_LARGE/);
  expect(() => sender.producer.sendText("", "x".repeat(1_100_000), 1)).toThrow(/MSG_SIZE_TOO_LARGE/);
  for (const opaque of [-1, 1.5, Number.NaN, 2 ** 60]) {
    expect(() => sender.producer.sendText("", "", opaque)).toThrow(RangeError);
  }
  expect(sender.producer.sendText("", "fine", 2)).toBe(true);
  expect(await sender.producer.flush(10_000)).toBe(0);
  expect(sender.delivered).toEqual([2]);
});

onBoth("a tombstone, an empty value, an empty key and a missing key are sent as such", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await TestProducer.open(kafka, topic);
  const { producer } = sender;
  producer.send(Buffer.from("tombstone"), undefined, 1);
  producer.send(Buffer.from("empty"), new Uint8Array(), 2);
  producer.send(undefined, Buffer.from("no key"), 3);
  producer.send(new Uint8Array(), Buffer.from("empty key"), 4);
  producer.send(undefined, undefined, 5);
  producer.sendText("", "", 6);
  expect(await producer.flush(20_000)).toBe(0);
  expect(sender.delivered).toEqual([1, 2, 3, 4, 5, 6]);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("6 records", () => member.records.length === 6);
  expect(member.records.map(({ key, value }) => [key, value])).toEqual([
    ["tombstone", undefined],
    ["empty", ""],
    [undefined, "no key"],
    ["", "empty key"],
    [undefined, undefined],
    ["", ""],
  ]);
});

onEmbedded("texts of any length and script arrive whole", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await TestProducer.open(kafka, topic);
  const texts = ["", "ascii", "ü".repeat(40_000), "日本語".repeat(20_000), "👩‍👩‍👧".repeat(10_000), "end"];
  for (const text of texts) sender.producer.sendText(text.slice(0, 100), text, 0);
  expect(await sender.producer.flush(10_000)).toBe(0);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("all", () => member.records.length === texts.length);
  expect(member.values()).toEqual(texts);
});

test("a producer with refused settings throws an error that names their variables", async () => {
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
