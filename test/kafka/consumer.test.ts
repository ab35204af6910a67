// Tests that a consumer delivers the bytes of records, and starts, stops and moves partitions.
import { expect, test } from "bun:test";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import {
  CUT_BYTES,
  MAX_BLOCK_BYTES,
  MAX_KEPT_BYTES,
  RecordBlock,
} from "../../shared/pipeline/record-block.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { GroupMember } from "./group-member.ts";
import { onBoth, onEmbedded, onKafka } from "./kafka-variants.ts";
import { TransactionalProducer } from "./transactional-producer.ts";

onBoth("a consumer delivers keys, values and headers as they were sent", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.send([
    { key: Buffer.from("schlüssel"), value: Buffer.from('{"ü":"日本"}') },
    { key: Buffer.from("tombstone"), value: undefined },
    { key: Buffer.from("empty"), value: new Uint8Array() },
    { value: Buffer.from("no key") },
    { key: new Uint8Array(), value: Buffer.from("empty key") },
    { value: undefined },
    {
      key: Buffer.from("k"),
      value: Buffer.from("with headers"),
      headers: [
        { name: "trace", value: Buffer.from([0, 255]) },
        { name: "null", value: undefined },
        { name: "empty", value: new Uint8Array() },
        { name: "trace", value: Buffer.from("again") },
      ],
    },
    { key: new Uint8Array(), value: Buffer.from("last") },
  ]);

  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("8 records", () => member.records.length === 8);
  const at = (offset: number) => ({ topic, partition: 0, offset });
  expect(member.records).toEqual([
    { ...at(0), key: "schlüssel", value: '{"ü":"日本"}', headers: undefined },
    { ...at(1), key: "tombstone", value: undefined, headers: undefined },
    { ...at(2), key: "empty", value: "", headers: undefined },
    { ...at(3), key: undefined, value: "no key", headers: undefined },
    { ...at(4), key: "", value: "empty key", headers: undefined },
    { ...at(5), key: undefined, value: undefined, headers: undefined },
    {
      ...at(6),
      key: "k",
      value: "with headers",
      headers: '[["trace","AP8="],["null",null],["empty",""],["trace","YWdhaW4="]]',
    },
    { ...at(7), key: "", value: "last", headers: undefined },
  ]);
});

onBoth("of a value or key over 1 MiB the beginning, the length and the hash are kept", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const large = (length: number) => Buffer.alloc(length, "0123456789");
  const settings = kafka.producerSettings({ "message.max.bytes": "20000000" });
  await using producer = await RawProducer.open(settings, topic);
  const header = { name: "h", value: large(2_000_000) };
  await producer.send([
    { key: Buffer.from("k"), value: large(MAX_KEPT_BYTES) },
    { key: Buffer.from("k"), value: large(MAX_KEPT_BYTES + 1) },
    { key: large(1_300_000), value: Buffer.from("v") },
    { key: large(1_400_000), value: large(15_000_000), headers: [header] },
    { value: Buffer.from("last") },
  ]);
  const consumer = await KafkaConsumer.open({
    settings: kafka.consumerSettings("large"),
    topics: [topic],
    onWake: () => {},
  });
  const block = new RecordBlock(10);
  await eventually("all records", () => {
    const event = consumer.poll(block);
    if (event?.kind === "assign") consumer.acknowledgeAssign([{ topic, partition: 0, offset: 0 }]);
    return block.count === 5;
  });
  const sha256 = (length: number) => new Bun.CryptoHasher("sha256").update(large(length)).digest();
  const beginning = large(CUT_BYTES);
  expect([...block.cutValues]).toEqual([
    [1, { bytes: MAX_KEPT_BYTES + 1, sha256: sha256(MAX_KEPT_BYTES + 1) }],
    [3, { bytes: 15_000_000, sha256: sha256(15_000_000) }],
  ]);
  expect([...block.cutKeys]).toEqual([
    [2, { bytes: 1_300_000, sha256: sha256(1_300_000) }],
    [3, { bytes: 1_400_000, sha256: sha256(1_400_000) }],
  ]);
  expect(block.value(0)!.equals(large(MAX_KEPT_BYTES))).toBe(true);
  for (const kept of [block.value(1), block.key(2), block.value(3), block.key(3)]) {
    expect(kept!.equals(beginning)).toBe(true);
  }
  expect([block.valueLength(0), block.valueLength(3)]).toEqual([MAX_KEPT_BYTES, 15_000_000]);
  expect([block.cutHeaderBytes(2), block.cutHeaderBytes(3)]).toEqual([undefined, 2_000_001]);
  expect([block.value(2)?.toString(), block.value(4)?.toString()]).toEqual(["v", "last"]);
  expect(block.used).toBeLessThan(MAX_KEPT_BYTES + 5 * CUT_BYTES);
  await consumer.close(5000);
});

onEmbedded("a block grows for records of any size, and takes no more after 16 MiB", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const big = Buffer.alloc(1_000_000, "0123456789");
  const records = Array.from({ length: 20 }, (_, i) => ({ key: Buffer.from(`key ${i}`), value: big }));
  const full = Math.ceil(MAX_BLOCK_BYTES / big.length);
  await using producer = await RawProducer.open(
    kafka.producerSettings({ "message.max.bytes": "4000000" }),
    topic,
  );
  await producer.send(records);
  const settings = {
    ...kafka.consumerSettings("big"),
    "fetch.message.max.bytes": "50000000",
    "fetch.max.bytes": "50000000",
  };
  const consumer = await KafkaConsumer.open({ settings, topics: [topic], onWake: () => {} });
  const start = { topic, partition: 0, offset: 0 };
  const block = new RecordBlock(100, 16);
  const counts: number[] = [];
  let seen = 0;
  // Until librdkafka had enough records queued to fill a block: each attempt waits longer before it polls.
  for (let waitMs = 100; !counts.includes(full); waitMs *= 2) {
    expect(waitMs).toBeLessThan(10_000);
    for (seen = 0; seen < records.length; ) {
      const event = consumer.poll(block);
      if (event?.kind === "assign") {
        consumer.acknowledgeAssign([start]);
        await Bun.sleep(waitMs);
      }
      for (let i = 0; i < block.count; i++) {
        expect(block.value(i)?.equals(big)).toBe(true);
        expect(block.key(i)?.toString()).toBe(`key ${block.offset[i]}`);
        expect(block.bytes[block.valueEnd[i]!]).toBe(10);
      }
      if (block.count > 0) counts.push(block.count);
      seen += block.count;
      block.clear();
      await Bun.sleep(1);
    }
    consumer.fetch([start]);
    await Bun.sleep(waitMs);
  }
  expect(Math.max(...counts)).toBe(full);
  await consumer.close(5000);
});

onBoth(
  "a partition without a start offset waits, and a stopped one resumes at the given offset",
  async (kafka) => {
    const topic = await kafka.createTopic(2);
    await using producer = await RawProducer.open(kafka.producerSettings(), topic);
    await producer.sendNumbers(0, 20, 2);
    // Partition 0 holds the even numbers: 2 * offset.
    await using member = await GroupMember.open(kafka, {
      topics: [topic],
      startAt: ({ partition }) => (partition === 0 ? 4 : undefined),
    });
    await member.until("partition 0 from offset 4", () => member.records.length === 6);
    expect(member.values()).toEqual(["8", "10", "12", "14", "16", "18"]);
    await throughout("partition 1 waits", 300, () => member.records.length === 6);
    expect(member.consumer.position({ topic, partition: 0 })).toBe(10);
    expect(member.consumer.position({ topic, partition: 1 })).toBeUndefined();

    // Assigned later, outside of a rebalance.
    member.consumer.fetch([{ topic, partition: 1, offset: 8 }]);
    await member.until("partition 1 from offset 8", () => member.records.length === 8);
    expect(member.values().slice(6)).toEqual(["17", "19"]);

    member.consumer.stop([{ topic, partition: 0 }]);
    await producer.sendNumbers(20, 24, 2);
    await member.until("partition 1 alone", () => member.records.length === 10);
    expect(member.values().slice(8)).toEqual(["21", "23"]);
    await throughout("partition 0 is stopped", 300, () => member.records.length === 10);

    // Moved while it is fetched, backwards.
    member.consumer.fetch([
      { topic, partition: 1, offset: 11 },
      { topic, partition: 0, offset: 9 },
    ]);
    await member.until("both at their new offsets", () => member.records.length === 14);
    expect(new Set(member.values().slice(10))).toEqual(new Set(["18", "20", "22", "23"]));
    expect(member.of("assign").length).toBe(1);
  },
);

onBoth("partitions stop and move independently of each other", async (kafka) => {
  const topic = await kafka.createTopic(3);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 30, 3);
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: ({ partition }) => (partition === 2 ? undefined : 0),
  });
  await member.until("two partitions", () => member.records.length === 20);
  member.consumer.fetch([
    { topic, partition: 2, offset: 5 },
    { topic, partition: 0, offset: 8 },
  ]);
  await member.until("the partitions at their new offsets", () => member.records.length === 27);
  expect(new Set(member.values().slice(20))).toEqual(new Set(["24", "27", "17", "20", "23", "26", "29"]));
  member.consumer.stop([{ topic, partition: 1 }]);
  await producer.sendNumbers(30, 33, 3);
  await member.until("the new records of two partitions", () => member.records.length === 29);
  expect(new Set(member.values().slice(27))).toEqual(new Set(["30", "32"]));
  member.consumer.stop([0, 2].map((partition) => ({ topic, partition })));
  await producer.sendNumbers(33, 36, 3);
  await throughout("all partitions are stopped", 300, () => member.records.length === 29);
  member.consumer.fetch([{ topic, partition: 1, offset: 10 }]);
  await member.until("the last two of partition 1", () => member.records.length === 31);
  expect(member.values().slice(29)).toEqual(["31", "34"]);
  // One after the other, backwards: the second move must not undo the first.
  member.consumer.fetch([{ topic, partition: 1, offset: 7 }]);
  member.consumer.fetch([{ topic, partition: 2, offset: 11 }]);
  await member.until("both moves", () => member.records.length === 37);
  expect(new Set(member.values().slice(31))).toEqual(new Set(["22", "25", "28", "31", "34", "35"]));
});

onBoth("a partition that is moved repeatedly never delivers a record from before the move", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const perPartition = 2000;
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 2 * perPartition, 2);
  const expected = new Map<number, number>();
  const wrong: string[] = [];
  let records = 0;
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: ({ partition }) => {
      expected.set(partition, 0);
      return 0;
    },
    maxRecords: 37,
    onRecord: ({ partition, offset, value }) => {
      records++;
      if (offset !== expected.get(partition)) {
        wrong.push(`[${partition}]: ${offset} instead of ${expected.get(partition)}`);
      }
      if (Number(value) !== 2 * offset + partition) wrong.push(`[${partition}]: ${value} at ${offset}`);
      expected.set(partition, offset + 1);
    },
  });
  await member.until("records", () => records > 0);
  let random = 12345;
  for (let round = 0; round < 60; round++) {
    random = (random * 1103515245 + 12345) % 2 ** 31;
    const partition = round % 2;
    const offset = random % perPartition;
    if (round % 3 === 0) member.consumer.stop([{ topic, partition }]);
    member.consumer.fetch([{ topic, partition, offset }]);
    expected.set(partition, offset);
    const before = records;
    // Every fourth round moves again before the partition delivered a record from its new offset.
    if (round % 4 !== 0) await member.until("a record", () => records > before || offset > 1900);
    await Bun.sleep(random % 7);
  }
  await member.until(
    "both at the end",
    () => expected.get(0) === perPartition && expected.get(1) === perPartition,
  );
  expect(wrong).toEqual([]);
});

onBoth("a move discards the records that are queued from an earlier move", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 1000, 1);
  await using member = await GroupMember.open(kafka, { topics: [topic], maxRecords: 10 });
  await member.until("records", () => member.records.length > 0);
  member.polling = false;
  member.consumer.fetch([{ topic, partition: 0, offset: 0 }]);
  await Bun.sleep(300); // time for librdkafka to queue records from the start
  member.consumer.fetch([{ topic, partition: 0, offset: 990 }]);
  member.records.length = 0;
  member.polling = true;
  await member.until("the last ten", () => member.records.length >= 10);
  expect(member.records.map(({ offset }) => offset)).toEqual([
    990, 991, 992, 993, 994, 995, 996, 997, 998, 999,
  ]);
});

onBoth("an offset outside of the log is reported once, and the partition can be moved", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 6, 2);
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    startAt: ({ partition }) => (partition === 0 ? 12345 : -2),
  });
  await member.until("the event", () => member.of("out_of_range").length > 0);
  expect(member.of("out_of_range")).toEqual([{ kind: "out_of_range", topic, partition: 0, offset: 12345 }]);
  await member.until("the other partition", () => member.records.length === 3);
  await throughout("the offset is reported once", 500, () => {
    member.poll();
    return member.of("out_of_range").length === 1 && member.records.length === 3;
  });
  member.consumer.fetch([{ topic, partition: 0, offset: 2 }]);
  await member.until("its last record", () => member.records.length === 4);
  expect(member.records[3]).toMatchObject({ partition: 0, offset: 2, value: "4" });
});

onKafka("a consumer skips aborted transactions, and the end excludes an open one", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using producer = await TransactionalProducer.open(kafka, topic);
  await producer.transaction(["committed"], "commit");
  await producer.transaction(["aborted"], "abort");
  producer.begin(["open"]);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until(
    "the position after the aborted record",
    () => member.consumer.position({ topic, partition: 0 }) === 4,
  );
  expect(member.values()).toEqual(["committed"]);
  const end = async () => {
    const request = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
    let settled = false;
    void request.then(() => (settled = true));
    await member.until("the end", () => settled);
    return (await request)[0];
  };
  // Two records with their markers; the open one, at 4, is not readable yet.
  expect(await end()).toBe(4);
  producer.end("commit");
  await member.until("the last record", () => member.records.length === 2);
  expect(member.records[1]).toMatchObject({ value: "open", offset: 4 });
  await member.until(
    "the position after its marker",
    () => member.consumer.position({ topic, partition: 0 }) === 6,
  );
  expect(await end()).toBe(6);
});

test("a consumer refuses an invalid offset and an unknown topic before librdkafka sees them", async () => {
  const settings = { "bootstrap.servers": "127.0.0.1:1", "group.id": "g" };
  const consumer = await KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  for (const offset of [-1001, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    expect(() => consumer.fetch([{ topic: "t", partition: 0, offset }])).toThrow(RangeError);
  }
  expect(() => consumer.fetch([{ topic: "other", partition: 0, offset: 0 }])).toThrow("is not subscribed to");
  expect(() => consumer.acknowledgeAssign([])).toThrow('there is no "assign" event to answer');
  await consumer.close(0);
});

test("a consumer reports brokers that cannot be reached as errors that are not fatal", async () => {
  const settings = { "bootstrap.servers": "127.0.0.1:1", "group.id": "g" };
  const consumer = await KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  const block = new RecordBlock(10);
  const names = new Set<string>();
  while (!names.has("_ALL_BROKERS_DOWN")) {
    const event = consumer.poll(block);
    if (event?.kind === "error") {
      expect(event.fatal).toBe(false);
      expect(event.message).not.toBe("");
      names.add(event.name);
    } else if (!event) await Bun.sleep(10);
  }
  await consumer.close(500);
  expect(names).toContain("_TRANSPORT");
}, 30_000);
