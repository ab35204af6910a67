// A consumer delivers the bytes of records, and starts, stops and moves partitions as it is told.
import { expect, test } from "bun:test";
import type { TopicPartition } from "../../shared/event.ts";
import { Client } from "../../shared/kafka/client.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { throughout } from "../support/eventually.ts";
import { Member } from "./group-member.ts";
import { Sender } from "./test-producer.ts";
import { TransactionalSender } from "./transactional-producer.ts";
import { onBoth, onEmbedded, onKafka } from "./kafka-variants.ts";

onBoth("keys, values and headers arrive as they were sent", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  const { producer } = sender;
  producer.sendText("schlüssel", '{"ü":"日本"}', 1);
  producer.send(Buffer.from("tombstone"), undefined, 2);
  producer.send(Buffer.from("empty"), new Uint8Array(), 3);
  producer.send(undefined, Buffer.from("no key"), 4);
  producer.send(new Uint8Array(), Buffer.from("empty key"), 5);
  producer.send(undefined, undefined, 6);
  producer.send(Buffer.from("k"), Buffer.from("with headers"), 7, {
    headers: [
      { name: "trace", value: Buffer.from([0, 255]) },
      { name: "null", value: undefined },
      { name: "empty", value: new Uint8Array() },
      { name: "trace", value: Buffer.from("again") },
    ],
  });
  producer.sendText("", "last", 8);
  expect(await producer.flush(10_000)).toBe(0);
  expect(sender.delivered).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);

  await using member = await Member.open(kafka, { topics: [topic] });
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

onEmbedded("a block grows for records of any size, and ends at its bytes", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic, { "message.max.bytes": "4000000" });
  const big = Buffer.alloc(3_000_000, "0123456789");
  for (let i = 0; i < 8; i++) sender.producer.send(Buffer.from(`key ${i}`), big, i);
  expect(await sender.producer.flush(10_000)).toBe(0);
  const group = kafka.consumerSettings("big");
  const consumer = await KafkaConsumer.open({
    settings: { ...group, "fetch.message.max.bytes": "50000000", "fetch.max.bytes": "50000000" },
    topics: [topic],
    onWake: () => {},
  });
  const block = new RecordBlock(100, 16);
  const counts: number[] = [];
  while (counts.reduce((sum, count) => sum + count, 0) < 8) {
    const event = consumer.poll(block);
    if (event?.kind === "assign") {
      consumer.acknowledgeAssign([{ topic, partition: 0, offset: -2 }]);
      await Bun.sleep(500); // so that all of them are here
    }
    for (let i = 0; i < block.count; i++) {
      expect(block.value(i)?.equals(big)).toBe(true);
      expect(block.key(i)?.toString()).toBe(`key ${block.offset[i]}`);
      expect(block.bytes[block.valueEnd[i]!]).toBe(10);
    }
    if (block.count > 0) counts.push(block.count);
    block.clear();
    await Bun.sleep(1);
  }
  // 16 MiB are reached with the sixth.
  expect(Math.max(...counts)).toBeLessThanOrEqual(6);
  await consumer.close(5000);
});

onBoth(
  "partitions that were assigned without an offset wait, and stopped ones go on where told",
  async (kafka) => {
    const topic = await kafka.createTopic(2);
    await using sender = await Sender.open(kafka, topic);
    await sender.sendNumbers(0, 20, 2);
    // Partition 0 holds the even numbers: 2 * offset.
    await using member = await Member.open(kafka, {
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
    await sender.sendNumbers(20, 24, 2);
    await member.until("partition 1 goes on alone", () => member.records.length === 10);
    expect(member.values().slice(8)).toEqual(["21", "23"]);
    await throughout("partition 0 is stopped", 300, () => member.records.length === 10);

    // Moved while it is fetched, backwards.
    member.consumer.fetch([
      { topic, partition: 1, offset: 11 },
      { topic, partition: 0, offset: 9 },
    ]);
    await member.until("both where told", () => member.records.length === 14);
    expect(new Set(member.values().slice(10))).toEqual(new Set(["18", "20", "22", "23"]));
    expect(member.of("assign").length).toBe(1);
  },
);

onBoth(
  "a partition that is moved over and over never delivers a record from before the move",
  async (kafka) => {
    const topic = await kafka.createTopic(2);
    const perPartition = 2000;
    await using sender = await Sender.open(kafka, topic);
    await sender.sendNumbers(0, 2 * perPartition, 2);
    const expected = new Map<number, number>();
    const wrong: string[] = [];
    let records = 0;
    await using member = await Member.open(kafka, {
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
      // Sometimes before anything of the new place was delivered.
      if (round % 4 !== 0)
        await member.until("the partition goes on", () => records > before || offset > 1900);
      await Bun.sleep(random % 7);
    }
    await member.until(
      "both at the end",
      () => expected.get(0) === perPartition && expected.get(1) === perPartition,
    );
    expect(wrong).toEqual([]);
  },
);

onBoth("a move to a place that was never polled beats records that are queued already", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 1000, 1);
  await using member = await Member.open(kafka, { topics: [topic], maxRecords: 10 });
  await member.until("records", () => member.records.length > 0);
  member.polling = false;
  member.consumer.fetch([{ topic, partition: 0, offset: 0 }]);
  await Bun.sleep(300); // the queue is full of records from the start
  member.consumer.fetch([{ topic, partition: 0, offset: 990 }]);
  member.records.length = 0;
  member.polling = true;
  await member.until("the last ten", () => member.records.length >= 10);
  expect(member.records.map(({ offset }) => offset)).toEqual([
    990, 991, 992, 993, 994, 995, 996, 997, 998, 999,
  ]);
});

onBoth("an offset that is not in the log is said once, and the partition can be moved", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 6, 2);
  await using member = await Member.open(kafka, {
    topics: [topic],
    startAt: ({ partition }) => (partition === 0 ? 12345 : -2),
  });
  await member.until("the event", () => member.of("out_of_range").length > 0);
  expect(member.of("out_of_range")).toEqual([{ kind: "out_of_range", topic, partition: 0, offset: 12345 }]);
  await member.until("the other partition", () => member.records.length === 3);
  await throughout("it is said once", 500, () => {
    member.poll();
    return member.of("out_of_range").length === 1 && member.records.length === 3;
  });
  member.consumer.fetch([{ topic, partition: 0, offset: 2 }]);
  await member.until("its last record", () => member.records.length === 4);
  expect(member.records[3]).toMatchObject({ partition: 0, offset: 2, value: "4" });
});

onBoth("the result of a commit comes back", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  member.consumer.commit([{ topic, partition: 0, offset: 7 }]);
  await member.until("the result", () => member.of("committed").length === 1);
  expect(member.of("committed")).toEqual([{ kind: "committed", error: undefined }]);
});

onEmbedded("a commit that is refused says why", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  const GROUP_AUTHORIZATION_FAILED = 30;
  kafka.embedded?.failRequests(8, [GROUP_AUTHORIZATION_FAILED]);
  member.consumer.commit([{ topic, partition: 0, offset: 7 }]);
  await member.until("the result", () => member.of("committed").length === 1);
  expect(member.of("committed")).toEqual([{ kind: "committed", error: "GROUP_AUTHORIZATION_FAILED" }]);
});

onBoth("offsets and topic ids are read while records are polled", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const other = await kafka.createTopic(1);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 5, 2);
  await using member = await Member.open(kafka, { topics: [topic, other] });
  const partitions: TopicPartition[] = [
    { topic, partition: 1 },
    { topic: other, partition: 0 },
    { topic, partition: 0 },
    { topic, partition: 77 },
  ];
  const settled = Promise.all([
    member.consumer.listOffsets(partitions, "end"),
    member.consumer.listOffsets(partitions, "beginning"),
    member.consumer.topicIds([topic, "no-such-topic", other]),
    member.consumer.listOffsets([], "end"),
    member.consumer.topicIds([]),
  ]);
  let done = false;
  void settled.then(() => (done = true));
  await member.until("all answers", () => done);
  const [ends, beginnings, ids, noOffsets, noIds] = await settled;
  expect(ends).toEqual([2, 0, 3, undefined]);
  expect(beginnings).toEqual([0, 0, 0, undefined]);
  expect([...ids.keys()].toSorted()).toEqual([topic, other].toSorted());
  for (const id of ids.values()) expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(ids.get(topic)).not.toBe(ids.get(other));
  expect(noOffsets).toEqual([]);
  expect(noIds.size).toBe(0);
});

onEmbedded("answers come even while a rebalance waits for its own", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await Member.open(kafka, { topics: [topic], answers: false });
  await member.until("the rebalance", () => member.of("assign").length === 1);
  let ids: Map<string, string> | undefined;
  void member.consumer.topicIds([topic]).then((found) => (ids = found));
  await member.until("the ids", () => ids?.size === 1);
  member.acknowledgeAssign();
});

onEmbedded("a question that no broker answers is an error in time", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.embedded?.setDown();
  const offsets = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
  const ids = member.consumer.topicIds([topic]);
  const failure = (promise: Promise<unknown>) => promise.then(String, String);
  const [noOffsets, noIds] = await Promise.all([failure(offsets), failure(ids)]);
  expect(noOffsets).toMatch(/the end of 1 partition\(s\) cannot be read: /);
  expect(noIds).toMatch(/cannot be described: .*(_TIMED_OUT|_TRANSPORT)/);
});

onEmbedded("closing rejects questions, hands out nothing more, and can be said twice", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.embedded?.setRoundTripMs(1, 500);
  const question = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
  const failure = question.then(
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
});

onBoth("closing does not wait for records that nobody took", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 5000, 2);
  const member = await Member.open(kafka, { topics: [topic], maxRecords: 1 });
  await member.until("its partitions", () => member.owned.size === 2);
  member.polling = false;
  await Bun.sleep(300); // so that the queue is full
  const startedAt = performance.now();
  await member.close(10_000);
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

onBoth("closing answers a rebalance that nobody answered", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await Member.open(kafka, { topics: [topic], answers: false });
  await member.until("the rebalance", () => member.of("assign").length === 1);
  const startedAt = performance.now();
  await member.close(10_000);
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

onEmbedded("closing gives up at its deadline when the group does not answer", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.embedded?.setRoundTripMs(1, 8000);
  const startedAt = performance.now();
  await member.close(500);
  const tookMs = performance.now() - startedAt;
  expect(tookMs).toBeGreaterThanOrEqual(499);
  expect(tookMs).toBeLessThan(4000);
});

onEmbedded("closing does not hang when the brokers are gone", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const member = await Member.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.embedded?.setDown();
  await member.until("it noticed", () => member.of("error").length > 0);
  const startedAt = performance.now();
  await member.close(500);
  expect(performance.now() - startedAt).toBeLessThan(3000);
});

onBoth("brokers that go away are told as errors that are not fatal", async (kafka) => {
  const settings = { ...kafka.consumerSettings("nobody"), "bootstrap.servers": "127.0.0.1:1" };
  const consumer = await KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  const block = new RecordBlock(10);
  const names = new Set<string>();
  const startedAt = performance.now();
  while (!names.has("_ALL_BROKERS_DOWN") && performance.now() - startedAt < 10_000) {
    const event = consumer.poll(block);
    if (event?.kind === "error") {
      expect(event.fatal).toBe(false);
      expect(event.message).not.toBe("");
      names.add(event.name);
    } else if (!event) await Bun.sleep(10);
  }
  await consumer.close(500);
  expect([...names].toSorted()).toEqual(["_ALL_BROKERS_DOWN", "_TRANSPORT"]);
});

onKafka(
  "records of aborted transactions are not seen, and the end is what a reader can reach",
  async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using sender = await TransactionalSender.open(kafka, topic);
    await sender.transaction(["committed"], "commit");
    await sender.transaction(["aborted"], "abort");
    sender.begin(["open"]);
    await using member = await Member.open(kafka, { topics: [topic] });
    await member.until("past the aborted one", () => member.consumer.position({ topic, partition: 0 }) === 4);
    expect(member.values()).toEqual(["committed"]);
    const end = async () => {
      const question = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
      let answered = false;
      void question.then(() => (answered = true));
      await member.until("the end", () => answered);
      return (await question)[0];
    };
    // Two records with their markers; the open one, at 4, is not for readers yet.
    expect(await end()).toBe(4);
    sender.end("commit");
    await member.until("the last record", () => member.records.length === 2);
    expect(member.records[1]).toMatchObject({ value: "open", offset: 4 });
    await member.until("past its marker", () => member.consumer.position({ topic, partition: 0 }) === 6);
    expect(await end()).toBe(6);
  },
);

test("settings that librdkafka refuses are told by their variables, all at once", async () => {
  const settings = {
    "bootstrap.servers": "127.0.0.1:1",
    "group.id": "g",
    "sasl.mekanism": "PLAIN",
    "security.protocol": "carrier-pigeon",
    "session.timeout.ms": "soon",
  };
  const opened = KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  const error: unknown = await opened.catch((caught: unknown) => caught);
  expect(error).toMatchObject({
    name: "ConfigurationError",
    problems: [
      "KAFKA_CONFIG_SASL_MEKANISM: librdkafka has no property sasl.mekanism",
      expect.stringContaining("KAFKA_CONFIG_SECURITY_PROTOCOL: "),
      expect.stringContaining("KAFKA_CONFIG_SESSION_TIMEOUT_MS: "),
    ],
  });
});

test("settings that do not go together are told by their variables", () => {
  const settings = {
    "bootstrap.servers": "127.0.0.1:1",
    "group.id": "g",
    "max.poll.interval.ms": "1000",
    "session.timeout.ms": "2000",
  };
  expect(() => Client.create("consumer", settings, 0)).toThrow(
    expect.objectContaining({
      name: "ConfigurationError",
      problems: [expect.stringContaining("KAFKA_CONFIG_SESSION_TIMEOUT_MS")],
    }),
  );
});

test("an offset that is none is refused before librdkafka sees it", async () => {
  const settings = { "bootstrap.servers": "127.0.0.1:1", "group.id": "g" };
  const consumer = await KafkaConsumer.open({ settings, topics: ["t"], onWake: () => {} });
  for (const offset of [-1001, -5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
    expect(() => consumer.fetch([{ topic: "t", partition: 0, offset }])).toThrow(RangeError);
  }
  expect(() => consumer.fetch([{ topic: "other", partition: 0, offset: 0 }])).toThrow("nobody subscribed");
  expect(() => consumer.acknowledgeAssign([])).toThrow('there is no "assign" event to answer');
  await consumer.close(0);
});
