// Tests consumers whose workers keep their places in the group over a restart (KAFKA_CONFIG_GROUP_INSTANCE_ID).
import { afterAll, describe, expect } from "bun:test";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { clusterTest } from "../support/requirements.ts";

/** A restart takes less, on any machine. */
const SESSION_MS = "60000";
const PROTOCOLS = {
  classic: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: SESSION_MS },
  consumer: { KAFKA_CONFIG_GROUP_PROTOCOL: "consumer" },
} as const;

const pod = (id: string) => ({ KAFKA_CONFIG_GROUP_INSTANCE_ID: id });

let cluster: Promise<KafkaCluster> | undefined;
let topics = 0;

afterAll(async () => {
  await (await cluster)?.stop();
});

async function startPipeline(env: Readonly<Record<string, string>>, partitions = 6): Promise<TestPipeline> {
  cluster ??= KafkaCluster.start({ properties: { "group.consumer.session.timeout.ms": SESSION_MS } });
  const { bootstrapServers } = await cluster;
  const topic = `static-${++topics}`;
  await (await cluster).createTopic(topic, { partitions });
  return await TestPipeline.start({ kafka: { bootstrapServers, topic }, env });
}

/** How many rebalances of a group the broker has logged. */
async function rebalancesOf(group: string): Promise<number> {
  const log = (await (await cluster)?.log(0)) ?? "";
  return log.split(`Preparing to rebalance group ${group} `).length - 1;
}

/** The partitions of each worker, by worker, as the console shows them. */
async function partitionsOf(consumer: TestConsumer): Promise<Record<number, number[]>> {
  const response = await fetch(`http://127.0.0.1:${await consumer.port()}/api/workers`);
  const workers = (await response.json()) as { worker: number; partitions: { partition: number }[] }[];
  return Object.fromEntries(
    workers.map(({ worker, partitions }) => [worker, partitions.map(({ partition }) => partition)]),
  );
}

describe.each(["classic", "consumer"] as const)(
  "a static member of a group of the %s protocol",
  (protocol) => {
    clusterTest(
      "gets its partitions back when its consumer restarts, and the others see no rebalance",
      async () => {
        await using pipeline = await startPipeline(PROTOCOLS[protocol]);
        const other = pipeline.consumer(pod("pod-2"));
        await pipeline.settled();
        const first = pipeline.consumer(pod("pod-1"));
        await pipeline.until("every worker has partitions", async () => {
          const shares = (await Promise.all([other, first].map(partitionsOf))).flatMap(
            Object.values<number[]>,
          );
          return (
            shares.length === 4 && shares.every(({ length }) => length > 0) && shares.flat().length === 6
          );
        });
        await pipeline.publish(3000);
        await pipeline.drained();
        const before = await other.total("rebalances_total");
        const places = await partitionsOf(first);

        await first.drain();
        await pipeline.publish(3000);
        const second = pipeline.consumer(pod("pod-1"));
        await pipeline.settled();
        await pipeline.drained();
        expect(await partitionsOf(second)).toEqual(places);
        expect(await other.total("rebalances_total")).toBe(before);
        await Promise.all([second.drain(), other.drain()]);
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
      },
      240_000,
    );

    clusterTest(
      "ends with a sentence where two consumers have one id",
      async () => {
        await using pipeline = await startPipeline(PROTOCOLS[protocol]);
        const first = pipeline.consumer(pod("pod-1"));
        await pipeline.settled();
        const second = pipeline.consumer(pod("pod-1"));
        // In the classic protocol the newcomer takes the place over; in the new one the place is taken.
        const [loser, winner] = protocol === "classic" ? [first, second] : [second, first];
        expect(await loser.program.exit()).toBe(1);
        expect(loser.program.stderr).toMatch(
          /^worker \d has ended: Kafka: another consumer runs with the same KAFKA_CONFIG_GROUP_INSTANCE_ID[^\n]*\n$/,
        );
        await pipeline.publish(1000);
        await pipeline.drained();
        await winner.drain();
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
      },
      240_000,
    );
  },
);

describe("a static member without partitions", () => {
  clusterTest(
    "keeps its place when its consumer restarts",
    async () => {
      await using pipeline = await startPipeline(PROTOCOLS.classic, 1);
      const first = pipeline.consumer(pod("pod-1"));
      await first.program.printed(/"owned":0/);
      await pipeline.publish(500);
      await pipeline.drained();
      const before = await rebalancesOf(pipeline.topic);
      expect(before).toBeGreaterThan(0);
      await first.drain();
      const second = pipeline.consumer(pod("pod-1"));
      await pipeline.settled(1);
      await pipeline.publish(500);
      await pipeline.drained();
      await second.drain();
      expect(await rebalancesOf(pipeline.topic)).toBe(before);
    },
    180_000,
  );
});
