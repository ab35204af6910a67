// Tests what a consumer asks the brokers for besides records: commits, offsets and topic ids.
import { expect } from "bun:test";
import type { TopicPartition } from "../../shared/event.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { RequestKey } from "./broker-faults.ts";
import { GroupMember } from "./group-member.ts";
import { onBoth, onEmbedded, onKafka } from "./kafka-variants.ts";

const GROUP_AUTHORIZATION_FAILED = 30;

onBoth("a commit reports its result", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  member.consumer.commit([{ topic, partition: 0, offset: 7 }]);
  await member.until("the result", () => member.of("committed").length === 1);
  expect(member.of("committed")).toEqual([{ kind: "committed", error: undefined }]);
});

onEmbedded("a commit that the broker refuses reports why", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.faults.failRequests(RequestKey.offsetCommit, [GROUP_AUTHORIZATION_FAILED]);
  member.consumer.commit([{ topic, partition: 0, offset: 7 }]);
  await member.until("the result", () => member.of("committed").length === 1);
  expect(member.of("committed")).toEqual([{ kind: "committed", error: "GROUP_AUTHORIZATION_FAILED" }]);
});

onBoth("a consumer reads offsets and topic ids while it polls records", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const other = await kafka.createTopic(1);
  await using producer = await RawProducer.open(kafka.producerSettings(), topic);
  await producer.sendNumbers(0, 5, 2);
  await using member = await GroupMember.open(kafka, { topics: [topic, other] });
  const partitions: TopicPartition[] = [
    { topic, partition: 1 },
    { topic: other, partition: 0 },
    { topic, partition: 0 },
    { topic, partition: 77 },
  ];
  const requests = Promise.all([
    member.consumer.listOffsets(partitions, "end"),
    member.consumer.listOffsets(partitions, "beginning"),
    member.consumer.topicIds([topic, "no-such-topic", other]),
    member.consumer.listOffsets([], "end"),
    member.consumer.topicIds([]),
  ]);
  let settled = false;
  void requests.then(() => (settled = true));
  await member.until("all responses", () => settled);
  const [ends, beginnings, ids, noOffsets, noIds] = await requests;
  expect(ends).toEqual([2, 0, 3, undefined]);
  expect(beginnings).toEqual([0, 0, 0, undefined]);
  expect([...ids.keys()].toSorted()).toEqual([topic, other].toSorted());
  for (const id of ids.values()) expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(ids.get(topic)).not.toBe(ids.get(other));
  expect(noOffsets).toEqual([]);
  expect(noIds.size).toBe(0);
});

onEmbedded("a request settles while a rebalance waits for its answer", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await GroupMember.open(kafka, { topics: [topic], answers: false });
  await member.until("the rebalance", () => member.of("assign").length === 1);
  let ids: Map<string, string> | undefined;
  void member.consumer.topicIds([topic]).then((found) => (ids = found));
  await member.until("the ids", () => ids?.size === 1);
  member.acknowledgeAssign();
});

onEmbedded(
  "the ids of topics are told while the broker that is known as the controller is away",
  async (kafka) => {
    const topic = await kafka.createTopic(3);
    kafka.faults.setController(3);
    await using member = await GroupMember.open(kafka, { topics: [topic] });
    await member.until("its partitions", () => member.owned.size === 3);
    const ids = async () => {
      const { promise, resolve } = Promise.withResolvers<string[]>();
      void member.consumer.topicIds([topic]).then(
        (found) => resolve([...found.keys()]),
        (error) => resolve([String(error)]),
      );
      let found: string[] | undefined;
      void promise.then((value) => (found = value));
      await member.until("the answer", () => found !== undefined);
      return found;
    };
    expect(await ids()).toEqual([topic]);
    kafka.faults.setDown(3);
    for (let n = 0; n < 3; n++) expect(await ids()).toEqual([topic]);
  },
  3,
);

onEmbedded("a request that no broker answers rejects", async (kafka) => {
  const topic = await kafka.createTopic(1);
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until("its partition", () => member.owned.size === 1);
  kafka.faults.setDown();
  const offsets = member.consumer.listOffsets([{ topic, partition: 0 }], "end");
  const ids = member.consumer.topicIds([topic]);
  const failure = (promise: Promise<unknown>) => promise.then(String, String);
  const [noOffsets, noIds] = await Promise.all([failure(offsets), failure(ids)]);
  expect(noOffsets).toMatch(/the end of 1 partition\(s\) cannot be read: /);
  expect(noIds).toMatch(/cannot be described: .*(_TIMED_OUT|_TRANSPORT)/);
});

onKafka("a topic that is deleted and created again has another id, which is reported", async (kafka) => {
  const topic = await kafka.createTopic(1);
  const recreated: string[] = [];
  await using member = await GroupMember.open(kafka, {
    topics: [topic],
    onTopicRecreated: (name) => recreated.push(name),
  });
  const id = async () => {
    let ids: Map<string, string> | undefined;
    void member.consumer.topicIds([topic]).then((found) => (ids = found));
    await member.until("the ids", () => ids !== undefined);
    return ids?.get(topic);
  };
  const before = await id();
  expect(before).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(await id()).toBe(before);
  expect(recreated).toEqual([]);
  await kafka.recreateTopic(topic, 1);
  const after = await id();
  expect(after).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(after).not.toBe(before);
  expect(recreated).toEqual([topic]);
});
