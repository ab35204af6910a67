// Tests that partitions move between consumers, and that every record is processed exactly once.
import { expect } from "bun:test";
import type { TopicPartition } from "../../shared/event.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { GroupMember, type Received, nameOf } from "./group-member.ts";
import { type KafkaUnderTest, onBoth, onEmbedded } from "./kafka-variants.ts";

const PARTITIONS = 4;
/** A rebalance takes 1 to 6 s. */
const REBALANCE_TIMEOUT_MS = 30_000;
const TIMEOUT = { timeoutMs: REBALANCE_TIMEOUT_MS };

/** Stands for the database: holds the next offset of each partition, and how often each record was processed. */
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
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  let sent = 0;
  const sendUntil = (what: string, condition: () => boolean) =>
    eventually(
      what,
      async () => {
        await producer.sendNumbers(sent, sent + 400, PARTITIONS);
        sent += 400;
        return condition();
      },
      { timeoutMs: REBALANCE_TIMEOUT_MS, everyMs: 5 },
    );
  await using first = await GroupMember.open(kafka, options);
  await sendUntil(
    "the first has all partitions",
    () => first.owned.size === PARTITIONS && store.processed.size > 1000,
  );
  const second = await GroupMember.open(kafka, options);
  await sendUntil(
    "each has two partitions",
    () => second.owned.size === 2 && first.owned.size === 2 && second.records.length > 200,
  );
  await second.close();
  await sendUntil("the first has all partitions again", () => first.owned.size === PARTITIONS);
  await first.until("all records", () => store.processed.size >= sent, TIMEOUT);
  expect(store.wrong(sent)).toEqual([]);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
  expect([...first.of("revoke"), ...second.of("revoke")].every(({ lost }) => !lost)).toBe(true);
}

onBoth("two consumers process each record once under cooperative-sticky", (kafka) => handOver(kafka, {}));

onBoth("two consumers process each record once under KIP-848", (kafka) =>
  handOver(kafka, { "group.protocol": "consumer" }),
);

for (const [protocol, passThrough] of [
  ["cooperative-sticky", {}],
  ["KIP-848", { "group.protocol": "consumer" }],
] as const) {
  onBoth(`a consumer without partitions is a member of its group under ${protocol}`, async (kafka) => {
    const topic = await kafka.createTopic(1);
    const options = { topics: [topic], group: `group-${crypto.randomUUID()}`, passThrough };
    await using lonely = await GroupMember.open(kafka, {
      ...options,
      passThrough: { ...passThrough, "bootstrap.servers": "127.0.0.1:1" },
    });
    await using first = await GroupMember.open(kafka, options);
    await first.until("it has the partition", () => first.owned.size === 1);
    await using second = await GroupMember.open(kafka, options);
    await second.until("the other one is a member", () => second.consumer.isMember());
    expect([first.owned.size, second.owned.size]).toEqual([1, 0]);
    expect(first.consumer.isMember()).toBe(true);
    // It has found no broker.
    expect(lonely.consumer.isMember()).toBe(false);
  });
}

onBoth("a rebalance proceeds when it is answered without partitions", async (kafka) => {
  const topic = await kafka.createTopic(PARTITIONS);
  const group = `group-${crypto.randomUUID()}`;
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 40, PARTITIONS);
  await using first = await GroupMember.open(kafka, { topics: [topic], group, startAt: () => undefined });
  await first.until("all partitions", () => first.owned.size === PARTITIONS);
  // The first fetches none of the partitions that it gives away.
  await using second = await GroupMember.open(kafka, { topics: [topic], group });
  await first.until("two each", () => first.owned.size === 2 && second.owned.size === 2, TIMEOUT);
  await second.until("the second's records", () => second.records.length === 20);
  expect(first.records).toEqual([]);
  // The first may fetch the partitions that it kept, and no others.
  const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition, offset: 0 }));
  first.consumer.fetch(all);
  await first.until("the first's records", () => first.records.length === 20);
  await throughout("no records of the other partitions", 300, () => first.records.length === 20);
  expect(first.unowned).toEqual([]);
  const values = [...first.records, ...second.records].map(({ value }) => Number(value));
  expect(values.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
});

onBoth(
  "the other consumer waits until a revocation is answered, and no record is polled meanwhile",
  async (kafka) => {
    const topic = await kafka.createTopic(2);
    const group = `group-${crypto.randomUUID()}`;
    await using producer = await RawProducer.open(kafka.producerSettings(), topic);
    await using first = await GroupMember.open(kafka, { topics: [topic], group, answers: false });
    await first.until("the assignment", () => first.of("assign").length === 1);
    first.acknowledgeAssign(() => 0);
    await using second = await GroupMember.open(kafka, { topics: [topic], group });
    await first.until("the revocation", () => first.of("revoke").length === 1, TIMEOUT);
    expect(first.of("revoke")[0]).toMatchObject({ lost: false, partitions: [{ topic }] });
    await producer.sendNumbers(0, 10, 2);
    const before = first.records.length;
    await throughout(
      "no partition moves",
      500,
      () => second.owned.size === 0 && first.records.length === before,
    );
    expect(() => first.consumer.acknowledgeAssign([])).toThrow('there is no "assign" event');
    first.acknowledgeRevoke();
    expect(() => first.consumer.acknowledgeRevoke()).toThrow('there is no "revoke" event');
    await first.until("the assignment that follows", () => first.of("assign").length === 2);
    first.answers = true;
    first.acknowledgeAssign(() => 0);
    await first.until("one each", () => second.owned.size === 1, TIMEOUT);
    await first.until("all records", () => first.records.length + second.records.length === 10);
    expect([...first.unowned, ...second.unowned]).toEqual([]);
  },
);

onBoth("a rebalance is reported to a consumer that takes no records, however many wait", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const group = `group-${crypto.randomUUID()}`;
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 1000, 2);
  await using first = await GroupMember.open(kafka, { topics: [topic], group, startAt: () => undefined });
  await first.until("the first has both", () => first.owned.size === 2, TIMEOUT);
  first.polling = false;
  first.consumer.fetch([0, 1].map((partition) => ({ topic, partition, offset: 0 })));
  const full = new RecordBlock(1);
  await eventually("its block is full", () => first.consumer.poll(full) === undefined && full.full);

  await using second = await GroupMember.open(kafka, { topics: [topic], group });
  await eventually("the revocation", () => first.consumer.poll(full)?.kind === "revoke", TIMEOUT);
  first.consumer.acknowledgeRevoke();
  first.polling = true;
  await second.until(
    "the second reads its partition",
    () => {
      first.poll();
      return second.owned.size === 1 && second.records.length === 500;
    },
    TIMEOUT,
  );
});

onBoth("a stop or move during a rebalance takes effect after its answer", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const group = `group-${crypto.randomUUID()}`;
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 20, 2);
  await using first = await GroupMember.open(kafka, { topics: [topic], group, answers: false });
  await first.until("the assignment", () => first.of("assign").length === 1);
  // Before the answer: one partition is moved, one is not.
  first.consumer.fetch([{ topic, partition: 0, offset: 9 }]);
  first.acknowledgeAssign(({ partition }) => (partition === 1 ? 8 : undefined));
  await first.until("both", () => first.records.length === 3);
  expect(new Set(first.values())).toEqual(new Set(["17", "18", "19"]));

  await using second = await GroupMember.open(kafka, { topics: [topic], group });
  await first.until("the revocation", () => first.of("revoke").length === 1, TIMEOUT);
  const [gone] = first.of("revoke")[0]!.partitions;
  const kept = { topic, partition: 1 - gone!.partition };
  // librdkafka would take the stop for the answer to the revocation, and the move for the answer to the next rebalance.
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
  await first.until("the kept partition at its new offset", () => first.records.length === 5);
  expect(first.records.every(({ partition }) => partition === kept.partition)).toBe(true);
  await first.until("the second", () => second.records.length === 10, TIMEOUT);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
});

onBoth("a partition may be moved faster than librdkafka stops fetching it", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 200, 2);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
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

onEmbedded(
  "consumers that move partitions and close during rebalances neither hang nor abort",
  async (kafka) => {
    const protocols: Settings[] = [{}, { "group.protocol": "consumer" }];
    const topic = await kafka.createTopic(8);
    const all = Array.from({ length: 8 }, (_, partition) => ({ topic, partition, offset: partition % 3 }));
    for (let round = 0; round < 8; round++) {
      const options = {
        topics: [topic],
        group: `group-${crypto.randomUUID()}`,
        passThrough: protocols[round % 2]!,
      };
      const members = [await GroupMember.open(kafka, options), await GroupMember.open(kafka, options)];
      const end = performance.now() + 300 + (round % 4) * 250;
      for (let i = 0; performance.now() < end; i++) {
        for (const member of members) {
          member.poll();
          if (i % 3 === 0) member.consumer.stop(all);
          else member.consumer.fetch(all);
        }
        await Bun.sleep(i % 4);
      }
      await Promise.all(members.map((member) => member.close(round % 4 < 2 ? 50 : 3000)));
    }
  },
);

onEmbedded("a consumer that polls too late learns that its partitions are lost", async (kafka) => {
  const topic = await kafka.createTopic(2);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 10, 2);
  // Longer than any pause of this process, or the loss would come before the test expects it.
  const passThrough = { "max.poll.interval.ms": "4000" };
  await using member = await GroupMember.open(kafka, { topics: [topic], passThrough });
  await member.until("its records", () => member.records.length === 10);
  member.polling = false;
  await Bun.sleep(7000);
  // Our own changes make librdkafka forget the loss; the consumer must not forget it.
  member.consumer.stop([{ topic, partition: 0 }]);
  member.consumer.fetch([{ topic, partition: 0, offset: 3 }]);
  member.polling = true;
  await member.until("the revocation", () => member.of("revoke").length === 1);
  expect(member.of("revoke")[0]).toMatchObject({ lost: true });
  expect(member.of("error").map(({ name }) => name)).toContain("_MAX_POLL_EXCEEDED");
  member.records.length = 0;
  await member.until(
    "all records again",
    () => member.of("assign").length === 2 && member.records.length === 10,
    TIMEOUT,
  );
  expect(member.unowned).toEqual([]);
});

onEmbedded("changes of ours during a rebalance that is not yet polled do not end it", async (kafka) => {
  const topic = await kafka.createTopic(PARTITIONS);
  const group = `group-${crypto.randomUUID()}`;
  const store = new Store();
  const options = { topics: [topic], group, startAt: store.startAt, onRecord: store.take };
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  let sent = 0;
  const send = async () => {
    await producer.sendNumbers(sent, sent + 100, PARTITIONS);
    sent += 100;
  };
  await send();
  await using first = await GroupMember.open(kafka, options);
  await first.until("all partitions", () => first.owned.size === PARTITIONS);
  await first.until("their records", () => store.processed.size === sent);
  // The revocation waits in the queue, not polled, while partitions are stopped and moved.
  first.polling = false;
  await using second = await GroupMember.open(kafka, options);
  const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }));
  for (let i = 0; i < 30; i++) {
    await send();
    first.consumer.stop(all);
    await Bun.sleep(50);
    first.consumer.fetch(all.map((partition) => ({ ...partition, offset: store.startAt(partition) })));
    await Bun.sleep(50);
  }
  first.polling = true;
  await first.until("two each", () => first.owned.size === 2 && second.owned.size === 2, TIMEOUT);
  await send();
  await first.until("all records", () => store.processed.size === sent, TIMEOUT);
  expect(first.of("revoke").length).toBeGreaterThan(0);
  expect(store.wrong(sent)).toEqual([]);
  expect([...first.unowned, ...second.unowned]).toEqual([]);
});
