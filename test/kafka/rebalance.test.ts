// Partitions go from consumer to consumer, and every record is processed exactly once.
import { expect } from "bun:test";
import type { TopicPartition } from "../../shared/event.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { throughout } from "../support/eventually.ts";
import { Member, type Received, nameOf } from "./group-member.ts";
import { Sender } from "./test-producer.ts";
import { type KafkaUnderTest, onBoth, onEmbedded, onKafka } from "./kafka-variants.ts";

const PARTITIONS = 4;

/** Stands for the database: the next offset of each partition, and how often each record was processed. */
class Store {
  readonly next = new Map<string, number>();
  readonly processed = new Map<string, number>();
  readonly gaps: string[] = [];

  startAt = (partition: TopicPartition): number => this.next.get(nameOf(partition)) ?? 0;

  take = (record: Received): void => {
    const name = nameOf(record);
    const expected = this.next.get(name) ?? 0;
    if (record.offset !== expected) this.gaps.push(`${name}: ${record.offset} instead of ${expected}`);
    this.next.set(name, record.offset + 1);
    const id = record.value ?? "";
    this.processed.set(id, (this.processed.get(id) ?? 0) + 1);
  };

  /** Records that were not processed exactly once, of those numbered from 0. */
  wrong(count: number): string[] {
    const wrong = [...this.gaps];
    for (let i = 0; i < count; i++) {
      const times = this.processed.get(String(i)) ?? 0;
      if (times !== 1) wrong.push(`${i} was processed ${times} times`);
    }
    return wrong;
  }
}

/** A second member joins and leaves while records flow. */
async function handOver(kafka: KafkaUnderTest, passThrough: Settings): Promise<void> {
  const topic = await kafka.createTopic(PARTITIONS);
  const group = `group-${crypto.randomUUID()}`;
  const store = new Store();
  const options = { topics: [topic], group, passThrough, startAt: store.startAt, onRecord: store.take };
  await using sender = await Sender.open(kafka, topic);
  let sent = 0;
  const send = async (until: () => boolean) => {
    const deadline = performance.now() + 20_000;
    do {
      await sender.sendNumbers(sent, sent + 400, PARTITIONS);
      sent += 400;
      await Bun.sleep(5);
    } while (!until() && performance.now() < deadline);
    expect(until()).toBe(true);
  };
  await using first = await Member.open(kafka, options);
  await send(() => first.owned.size === PARTITIONS && store.processed.size > 1000);
  const second = await Member.open(kafka, options);
  await send(() => second.owned.size === 2 && first.owned.size === 2 && second.records.length > 200);
  const fromSecond = second.records.length;
  await second.close();
  expect(fromSecond).toBeGreaterThan(0);
  await send(() => first.owned.size === PARTITIONS);
  await first.until("everything", () => store.processed.size >= sent, { timeoutMs: 20_000 });
  expect(store.wrong(sent)).toEqual([]);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
  expect([...first.of("revoke"), ...second.of("revoke")].every(({ lost }) => !lost)).toBe(true);
}

onBoth("two consumers lose and double nothing, cooperatively", (kafka) => handOver(kafka, {}));

onBoth("two consumers lose and double nothing, all at once (range)", (kafka) =>
  handOver(kafka, { "partition.assignment.strategy": "range" }),
);

onBoth("two consumers lose and double nothing under KIP-848", (kafka) =>
  handOver(kafka, { "group.protocol": "consumer" }),
);

onBoth("a rebalance that is answered with nothing leaves the group whole", async (kafka) => {
  const topic = await kafka.createTopic(PARTITIONS);
  const group = `group-${crypto.randomUUID()}`;
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 40, PARTITIONS);
  await using first = await Member.open(kafka, { topics: [topic], group, startAt: () => undefined });
  await first.until("all partitions", () => first.owned.size === PARTITIONS);
  // None of the partitions that the first gives away is fetched by it.
  await using second = await Member.open(kafka, { topics: [topic], group });
  await first.until("two each", () => first.owned.size === 2 && second.owned.size === 2, {
    timeoutMs: 20_000,
  });
  await second.until("the second's records", () => second.records.length === 20);
  expect(first.records).toEqual([]);
  // What the first kept it may still fetch, and nothing else.
  const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, offset: 0 }));
  first.consumer.fetch(all);
  await first.until("the first's records", () => first.records.length === 20);
  await throughout("nothing of others", 300, () => first.records.length === 20);
  expect(first.unowned).toEqual([]);
  const values = [...first.records, ...second.records].map(({ value }) => Number(value));
  expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
});

onBoth("until a revocation is answered the other consumer waits, and nothing is polled", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const group = `group-${crypto.randomUUID()}`;
  await using sender = await Sender.open(kafka, topic);
  await using first = await Member.open(kafka, { topics: [topic], group, answers: false });
  await first.until("the assignment", () => first.of("assign").length === 1);
  first.acknowledgeAssign(() => 0);
  await using second = await Member.open(kafka, { topics: [topic], group });
  await first.until("the revocation", () => first.of("revoke").length === 1, { timeoutMs: 20_000 });
  expect(first.of("revoke")[0]).toMatchObject({ lost: false, partitions: [{ topic }] });
  await sender.sendNumbers(0, 10, 2);
  const before = first.records.length;
  await throughout("nothing moves", 500, () => second.owned.size === 0 && first.records.length === before);
  expect(() => first.consumer.acknowledgeAssign([])).toThrow('there is no "assign" event');
  first.acknowledgeRevoke();
  expect(() => first.consumer.acknowledgeRevoke()).toThrow('there is no "revoke" event');
  await first.until("the assignment that follows", () => first.of("assign").length === 2);
  first.answers = true;
  first.acknowledgeAssign(() => 0);
  await first.until("one each", () => second.owned.size === 1, { timeoutMs: 20_000 });
  await first.until("all records", () => first.records.length + second.records.length === 10);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
});

onBoth("stops and moves while a rebalance waits take effect after its answer", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const group = `group-${crypto.randomUUID()}`;
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 20, 2);
  await using first = await Member.open(kafka, { topics: [topic], group, answers: false });
  await first.until("the assignment", () => first.of("assign").length === 1);
  // Before the answer: one is moved, one is not.
  first.consumer.fetch([{ topic, partition: 0, offset: 9 }]);
  first.acknowledgeAssign(({ partition }) => (partition === 1 ? 8 : undefined));
  await first.until("both", () => first.records.length === 3);
  expect(new Set(first.values())).toEqual(new Set(["17", "18", "19"]));

  await using second = await Member.open(kafka, { topics: [topic], group });
  await first.until("the revocation", () => first.of("revoke").length === 1, { timeoutMs: 20_000 });
  const [gone] = first.of("revoke")[0]!.partitions;
  const kept = { topic, partition: 1 - gone!.partition };
  // librdkafka would take the first for the answer to the revocation, the second for that to what follows it.
  first.consumer.stop([gone!, kept]);
  await Bun.sleep(200);
  first.consumer.fetch([
    { ...gone!, offset: 0 },
    { ...kept, offset: 5 },
  ]);
  await throughout("the second waits", 1500, () => second.owned.size === 0);
  first.records.length = 0;
  first.acknowledgeRevoke();
  await first.until("the assignment that follows", () => first.of("assign").length === 2);
  first.answers = true;
  first.acknowledgeAssign();
  await first.until("the kept one where told", () => first.records.length === 5);
  expect(first.records.every(({ partition }) => partition === kept.partition)).toBe(true);
  await first.until("the second", () => second.records.length === 10, { timeoutMs: 20_000 });
  expect([...first.unowned, ...second.unowned]).toEqual([]);
});

onBoth("under an assignor that gives all at once, partitions stop and move each by itself", async (kafka) => {
  const topic = await kafka.createTopic(3);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 30, 3);
  const passThrough = { "partition.assignment.strategy": "range" };
  const startAt = ({ partition }: TopicPartition) => (partition === 2 ? undefined : 0);
  await using member = await Member.open(kafka, { topics: [topic], passThrough, startAt });
  await member.until("two of them", () => member.records.length === 20);
  member.consumer.fetch([
    { topic, partition: 2, offset: 5 },
    { topic, partition: 0, offset: 8 },
  ]);
  await member.until("what was asked for", () => member.records.length === 27);
  expect(new Set(member.values().slice(20))).toEqual(new Set(["24", "27", "17", "20", "23", "26", "29"]));
  member.consumer.stop([{ topic, partition: 1 }]);
  await sender.sendNumbers(30, 33, 3);
  await member.until("the new ones of two", () => member.records.length === 29);
  expect(new Set(member.values().slice(27))).toEqual(new Set(["30", "32"]));
  member.consumer.stop([0, 2].map((partition) => ({ topic, partition })));
  await sender.sendNumbers(33, 36, 3);
  await throughout("all are stopped", 300, () => member.records.length === 29);
  member.consumer.fetch([{ topic, partition: 1, offset: 10 }]);
  await member.until("the last two of partition 1", () => member.records.length === 31);
  expect(member.values().slice(29)).toEqual(["31", "34"]);
  // One after the other, backwards: the second must not take the first back.
  member.consumer.fetch([{ topic, partition: 1, offset: 7 }]);
  member.consumer.fetch([{ topic, partition: 2, offset: 11 }]);
  await member.until("both", () => member.records.length === 37);
  expect(new Set(member.values().slice(31))).toEqual(new Set(["22", "25", "28", "31", "34", "35"]));
});

for (const assignor of ["cooperative-sticky", "range"]) {
  onBoth(`partitions may be moved faster than librdkafka stops fetching them, ${assignor}`, async (kafka) => {
    const topic = await kafka.createTopic(2);
    await using sender = await Sender.open(kafka, topic);
    await sender.sendNumbers(0, 200, 2);
    const passThrough = { "partition.assignment.strategy": assignor };
    await using member = await Member.open(kafka, { topics: [topic], passThrough });
    await member.until("all records", () => member.records.length === 200);
    const both = [0, 1].map((partition) => ({ topic, partition }));
    for (let i = 0; i < 300; i++) {
      if (i % 7 === 0) member.consumer.stop(both);
      member.consumer.fetch(both.map((partition) => ({ ...partition, offset: (i * 13) % 100 })));
      if (i % 5 === 0) member.consumer.fetch([{ topic, partition: 0, offset: 98 }]);
      if (i % 20 === 0) member.poll();
    }
    member.consumer.fetch(both.map((partition) => ({ ...partition, offset: 95 })));
    member.records.length = 0;
    await member.until("the last five of both", () => member.records.length >= 10);
    expect(new Set(member.values())).toEqual(new Set(Array.from({ length: 10 }, (_, i) => String(190 + i))));
    expect(member.records.length).toBe(10);
  });
}

onEmbedded(
  "consumers that move partitions and are closed amid rebalances neither hang nor abort",
  async (kafka) => {
    const protocols: Settings[] = [
      {},
      { "partition.assignment.strategy": "range" },
      { "group.protocol": "consumer" },
    ];
    const topic = await kafka.createTopic(8);
    const all = Array.from({ length: 8 }, (_, partition) => ({ topic, partition, offset: partition % 3 }));
    for (let round = 0; round < 9; round++) {
      const options = {
        topics: [topic],
        group: `group-${crypto.randomUUID()}`,
        passThrough: protocols[round % 3]!,
      };
      const members = [await Member.open(kafka, options), await Member.open(kafka, options)];
      const end = performance.now() + 300 + (round % 4) * 250;
      for (let i = 0; performance.now() < end; i++) {
        for (const member of members) {
          member.poll();
          if (i % 3 === 0) member.consumer.stop(all);
          else member.consumer.fetch(all);
        }
        await Bun.sleep(i % 4);
      }
      await Promise.all(members.map((member) => member.close(round % 2 === 0 ? 50 : 3000)));
    }
  },
);

onEmbedded("a consumer that polls too late is told that its partitions are lost", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using sender = await Sender.open(kafka, topic);
  await sender.sendNumbers(0, 10, 2);
  const passThrough = { "max.poll.interval.ms": "2000" };
  await using member = await Member.open(kafka, { topics: [topic], passThrough });
  await member.until("its records", () => member.records.length === 10);
  member.polling = false;
  await Bun.sleep(3000);
  // Our own changes make librdkafka forget the loss; it must not be forgotten here.
  member.consumer.stop([{ topic, partition: 0 }]);
  member.consumer.fetch([{ topic, partition: 0, offset: 3 }]);
  member.polling = true;
  await member.until("the revocation", () => member.of("revoke").length === 1);
  expect(member.of("revoke")[0]).toMatchObject({ lost: true });
  expect(member.of("error").map(({ name }) => name)).toContain("_MAX_POLL_EXCEEDED");
  member.records.length = 0;
  await member.until("it is back", () => member.of("assign").length === 2 && member.records.length === 10);
  expect(member.unowned).toEqual([]);
});

onEmbedded("changes of ours during a rebalance that was not polled yet do not end it", async (kafka) => {
  const topic = await kafka.createTopic(PARTITIONS);
  const group = `group-${crypto.randomUUID()}`;
  const store = new Store();
  const options = { topics: [topic], group, startAt: store.startAt, onRecord: store.take };
  await using sender = await Sender.open(kafka, topic);
  let sent = 0;
  const send = async () => {
    await sender.sendNumbers(sent, sent + 100, PARTITIONS);
    sent += 100;
  };
  await send();
  await using first = await Member.open(kafka, options);
  await first.until("all partitions", () => first.owned.size === PARTITIONS);
  await first.until("their records", () => store.processed.size === sent);
  // Not polled: the revocation waits in the queue while partitions are stopped and moved.
  first.polling = false;
  await using second = await Member.open(kafka, options);
  const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }));
  for (let i = 0; i < 30; i++) {
    await send();
    first.consumer.stop(all);
    await Bun.sleep(50);
    first.consumer.fetch(all.map((partition) => ({ ...partition, offset: store.startAt(partition) })));
    await Bun.sleep(50);
  }
  first.polling = true;
  await first.until("two each", () => first.owned.size === 2 && second.owned.size === 2, {
    timeoutMs: 20_000,
  });
  await send();
  await first.until("everything", () => store.processed.size === sent, { timeoutMs: 20_000 });
  expect(first.of("revoke").length).toBeGreaterThan(0);
  expect(store.wrong(sent)).toEqual([]);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
});

onKafka("a topic that is gone and made anew has another id", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await Member.open(kafka, { topics: [topic] });
  const id = async () => {
    let ids: Map<string, string> | undefined;
    void member.consumer.topicIds([topic]).then((found) => (ids = found));
    await member.until("the ids", () => ids !== undefined);
    return ids?.get(topic);
  };
  const before = await id();
  expect(before).toMatch(/^[A-Za-z0-9_-]{22}$/);
  await kafka.recreateTopic(topic, 1);
  const after = await id();
  expect(after).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(after).not.toBe(before);
});
