// Cuts a log by an unclean election of a real cluster: what is written over the lost records is stored.
import { describe, expect } from "bun:test";
import { KafkaCluster } from "../support/kafka.ts";
import { recordAt } from "../support/known-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { clusterTest } from "../support/requirements.ts";

const TOPIC = "events";
/** A dead broker is missed after 3 s, and the controllers need to agree again. */
const FAILOVER_DEADLINE_MS = 90_000;

/** Two replicas, on the first broker and on the second, which may become the leader without the last records. */
async function topicOfTwoReplicas(kafka: KafkaCluster): Promise<void> {
  const settings = "--config unclean.leader.election.enable=true --config min.insync.replicas=1";
  const create = `--create --topic ${TOPIC} --replica-assignment 1:2 ${settings}`;
  await kafka.tool("org.apache.kafka.tools.TopicCommand", create.split(" "));
}

function records(from: number, to: number) {
  return Array.from({ length: to - from }, (_, index) => ({
    value: Buffer.from(recordAt(from + index).value),
    partition: 0,
  }));
}

describe("a log that is cut by an unclean election is read again from the cut", () => {
  for (const when of ["while the consumer reads it", "while no consumer runs"] as const) {
    clusterTest(
      when,
      async () => {
        await using kafka = await KafkaCluster.start({ brokers: 3 });
        await topicOfTwoReplicas(kafka);
        await using pipeline = await TestPipeline.start({
          kafka: { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
          env: { CONSUMER_WORKERS: "1" },
        });
        const consumed = (count: number) =>
          pipeline.until(
            `${count} records are stored`,
            async () => (await pipeline.consumed()) === count,
            FAILOVER_DEADLINE_MS,
          );
        let consumer = pipeline.consumer();
        await pipeline.send(records(0, 600));
        await consumed(600);
        await kafka.kill(1, "SIGKILL");
        await pipeline.send(records(600, 1000));
        await consumed(1000);
        if (when === "while no consumer runs") await consumer.drain();

        await kafka.kill(0, "SIGKILL");
        await kafka.restart(1);
        // The old one counts on records that are gone.
        await pipeline.renewProducer();
        await pipeline.send(records(1000, 1600));
        if (when === "while no consumer runs") consumer = pipeline.consumer();
        await consumer.program.printed(/"stored":1000,"at":600[^\n]*the log was cut below offset 1000/);
        await consumed(1600);
        const rows = await pipeline.database.sql`
          select reading, first_offset::int, next_offset::int, consumed::int, closed_at is not null as is_closed
          from pipeline_offsets order by reading`;
        expect(rows.map((row) => ({ ...row }))).toEqual([
          { reading: 0, first_offset: 0, next_offset: 1000, consumed: 1000, is_closed: true },
          { reading: 1, first_offset: 600, next_offset: 1200, consumed: 600, is_closed: false },
        ]);
        await consumer.drain();
        expect(await pipeline.ledger()).toMatchObject({ exitCode: 0, violated: [] });
      },
      240_000,
    );
  }
});
