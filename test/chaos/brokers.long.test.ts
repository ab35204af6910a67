// Kills and restarts brokers while the producer and a consumer run; nothing is lost or doubled.
import { describe, expect } from "bun:test";
import type { Production } from "../../shared/api-schema.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { type Program, startProducer } from "../support/process.ts";
import { clusterTest } from "../support/requirements.ts";

const TOPIC = "events";
/** A dead broker is missed after 3 s, its leaders are elected, and the clients find them: seconds, on any machine. */
const FAILOVER_DEADLINE_MS = 90_000;
/** A producer that ends waits up to 30 s for what is outstanding; a consumer drains for up to 40 s. */
const END_DEADLINE_MS = 60_000;

interface Summary {
  sent: number;
  acknowledged: number;
  failed: number;
  outstanding: number;
}

/** The figures of a producer's last line. */
function summaryOf(program: Program): Summary {
  const line = program.stdout.split("\n").findLast((text) => text.includes('"msg":"finished"'));
  if (line === undefined) throw new Error(`the producer did not log its last figures\n${program.output}`);
  const { sent, acknowledged, failed, outstanding } = JSON.parse(line) as Summary;
  return { sent, acknowledged, failed, outstanding };
}

async function isReady(consumer: TestConsumer): Promise<boolean> {
  return (await fetch(`http://127.0.0.1:${await consumer.port()}/readyz`)).ok;
}

/** Records that a producer has sent and that no broker has acknowledged. */
async function outstandingAt(port: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/api/production`);
  return ((await answer.json()) as Production).now.outstanding;
}

describe("broker outage", () => {
  clusterTest(
    "what was acknowledged is what is stored when each broker in turn is killed and comes back",
    async () => {
      await using kafka = await KafkaCluster.start({ brokers: 3 });
      await kafka.createTopic(TOPIC, { partitions: 6 });
      await using pipeline = await TestPipeline.start({
        kafka: { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
      });
      const consumer = pipeline.consumer();
      await using source = startProducer(
        { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
        { PRODUCER_RATE: "300" },
      );
      const port = await source.port();
      const goesOn = async (what: string) => {
        const before =
          (await source.metrics(port, "it answers", () => true)).value("events_produced_total") ?? 0;
        await source.metrics(
          port,
          `${what}: more is acknowledged`,
          (found) => (found.value("events_produced_total") ?? 0) > before + 300,
          FAILOVER_DEADLINE_MS,
        );
        const consumed = await pipeline.consumed();
        await pipeline.until(
          `${what}: more is stored`,
          async () => (await pipeline.consumed()) > consumed + 300,
          FAILOVER_DEADLINE_MS,
        );
      };
      await goesOn("all are there");
      for (const index of [0, 1, 2]) {
        const pid = kafka.pids[index];
        await kafka.kill(index, "SIGKILL");
        expect(kafka.pids[index]).toBeUndefined();
        await goesOn(`without broker ${index}`);
        await kafka.restart(index);
        expect(kafka.pids[index]).not.toBe(pid);
        await goesOn(`broker ${index} is back`);
      }
      expect(source.running).toBe(true);
      expect(consumer.program.running).toBe(true);
      // The fault reached the consumer.
      expect(await consumer.total("kafka_consume_errors_total")).toBeGreaterThan(0);

      source.signal("SIGTERM");
      expect(await source.exit(END_DEADLINE_MS)).toBe(0);
      const { sent, acknowledged, failed, outstanding } = summaryOf(source);
      expect({ acknowledged, failed, outstanding }).toEqual({
        acknowledged: sent,
        failed: 0,
        outstanding: 0,
      });
      const { published } = pipeline;
      published.records = sent;
      published.events = sent;
      await pipeline.drained();
      await pipeline.until("no lag is left", async () => (await consumer.total("kafka_consumer_lag")) === 0);
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: published });
    },
    480_000,
  );

  clusterTest(
    "a consumer waits while all brokers are away; a producer that is stopped meanwhile reports what is outstanding",
    async () => {
      await using kafka = await KafkaCluster.start();
      await kafka.createTopic(TOPIC, { partitions: 6 });
      await using pipeline = await TestPipeline.start({
        kafka: { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
        // The group misses the consumer that could not leave it when that consumer's session is over.
        env: { KAFKA_CONFIG_SESSION_TIMEOUT_MS: "6000" },
      });
      const consumer = pipeline.consumer();
      const stopped = pipeline.consumer({ CONSUMER_WORKERS: "1" });
      await pipeline.settled();
      await using source = startProducer(
        { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
        { PRODUCER_RATE: "500" },
      );
      const port = await source.port();
      await source.metrics(
        port,
        "some are acknowledged",
        (found) => (found.value("events_produced_total") ?? 0) > 500,
      );
      await pipeline.until("some are stored", async () => (await pipeline.consumed()) > 500);

      await kafka.kill(0, "SIGKILL");
      await pipeline.until(
        "the consumer notices",
        async () => (await consumer.total("kafka_consume_errors_total")) > 0,
      );
      await pipeline.until("the producer's queue fills", async () => (await outstandingAt(port)) > 0);
      const acknowledged = (await source.metrics(port, "it answers", () => true)).value(
        "events_produced_total",
      )!;
      source.signal("SIGTERM");
      // A consumer that is asked to stop meanwhile cannot leave the group, and still ends. A batch that was in its
      // transaction is read again later: no broker is there to say that its topic is still the same.
      stopped.program.signal("SIGTERM");
      if ((await stopped.program.exit(END_DEADLINE_MS)) !== 0) {
        expect(stopped.program.output).toContain("what was read could not be committed");
      }
      expect(await source.exit(END_DEADLINE_MS)).toBe(1);
      const summary = summaryOf(source);
      expect(summary.outstanding).toBeGreaterThan(0);
      expect(summary.acknowledged).toBeGreaterThanOrEqual(acknowledged);
      expect(summary.sent).toBe(summary.acknowledged + summary.failed + summary.outstanding);
      expect(source.stdout).toContain("not everything was delivered");
      expect(consumer.program.running).toBe(true);

      await kafka.restart(0);
      await using after = startProducer(
        { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
        { PRODUCER_RATE: "500" },
      );
      await after.metrics(
        await after.port(),
        "some are acknowledged",
        (found) => (found.value("events_produced_total") ?? 0) > 500,
        FAILOVER_DEADLINE_MS,
      );
      after.signal("SIGTERM");
      expect(await after.exit(END_DEADLINE_MS)).toBe(0);
      // What was outstanding may or may not have reached the log before the broker died; nothing else may be missing.
      const least = summary.acknowledged + summaryOf(after).acknowledged;
      await pipeline.until(
        "all is stored",
        async () => {
          return (await pipeline.consumed()) >= least && (await consumer.total("kafka_consumer_lag")) === 0;
        },
        FAILOVER_DEADLINE_MS,
      );
      await pipeline.until("it is ready", () => isReady(consumer));
      await consumer.drain();
      const { exitCode, violated, accounted } = await pipeline.ledger();
      expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
      expect(accounted.records).toBeLessThanOrEqual(least + summary.outstanding);
      expect(accounted).toEqual({
        records: accounted.records,
        events: accounted.records,
        repeats: 0,
        broken: 0,
      });
    },
    360_000,
  );
});
