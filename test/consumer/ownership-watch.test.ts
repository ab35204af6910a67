// Tests that partitions without an owner in the group are noticed, and that joining again brings them back.
import { expect } from "bun:test";
import type { TopicPartition } from "../../shared/event.ts";
import { OwnershipWatch } from "../../workers/consumer/ownership-watch.ts";
import { GroupMember } from "../kafka/group-member.ts";
import { type KafkaUnderTest, onKafka } from "../kafka/kafka-variants.ts";
import { eventually } from "../support/eventually.ts";

const TIMEOUT = { timeoutMs: 60_000 };

/** Two members whose topic is away while the leader shares it out: one partition is left without an owner. */
async function leaveOneUnowned(kafka: KafkaUnderTest, topic: string, group: string) {
  const first = await GroupMember.open(kafka, { topics: [topic], group });
  await first.until("the first has both partitions", () => first.owned.size === 2, TIMEOUT);
  const second = await GroupMember.open(kafka, { topics: [topic], group });
  await first.until("the first gives one up", () => first.of("revoke").length > 0, TIMEOUT);
  await kafka.deleteTopic(topic);
  // Once when it joins, and once when the first has given the partition up.
  await second.until("the second is given nothing", () => second.of("assign").length === 2, TIMEOUT);
  await kafka.ensureTopic(topic, 2);
  return { first, second };
}

onKafka("partitions that the group has left without an owner are found, and owned again", async (kafka) => {
  const topic = await kafka.createTopic(2);
  const group = `group-${crypto.randomUUID()}`;
  await using members = new AsyncDisposableStack();
  const { first, second } = await leaveOneUnowned(kafka, topic, group);
  members.use(first);
  members.use(second);
  expect(first.owned.size + second.owned.size).toBe(1);

  const found: TopicPartition[][] = [];
  const watch = await OwnershipWatch.open({
    settings: kafka.adminSettings(),
    group,
    topics: [topic],
    onUnowned: (partitions) => found.push([...partitions]),
  });
  try {
    await eventually("they are found", async () => (await watch.look(), found.length > 0), TIMEOUT);
    expect(found).toEqual([[{ topic, partition: 0 }]]);
    second.consumer.rejoin();
    await first.until(
      "each has a partition",
      () => {
        second.poll();
        return first.owned.size === 1 && second.owned.size === 1;
      },
      TIMEOUT,
    );
    await watch.look();
    await watch.look();
    expect(found).toHaveLength(1);
  } finally {
    watch.close();
  }
});
