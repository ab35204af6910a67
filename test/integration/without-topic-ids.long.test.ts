// Runs the pipeline on a broker whose topics have no ids, as those before Kafka 2.8 and Azure Event Hubs.
import { expect } from "bun:test";
import { freePort } from "../../shared/runtime/free-port.ts";
import { WithoutTopicIds } from "../kafka/without-topic-ids.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { clusterTest } from "../support/requirements.ts";

clusterTest(
  "topics without ids are known by their name and their cluster, and the start says what cannot be noticed",
  async () => {
    const port = await freePort();
    await using kafka = await KafkaCluster.start({ advertisedPort: port });
    const behind = Number(kafka.bootstrapServers.split(":")[1]);
    await using proxy = await WithoutTopicIds.start(port, behind);
    await kafka.createTopic("events", { partitions: 3 });
    await using pipeline = await TestPipeline.start({
      kafka: { bootstrapServers: `127.0.0.1:${port}`, topic: "events" },
    });
    await pipeline.publish(2000);
    const first = pipeline.consumer();
    await pipeline.drained();
    await first.drain();
    expect(first.program.stdout.match(/the brokers give topic events no id/g)).toHaveLength(1);

    // A second one goes on where the first one has stopped.
    await pipeline.publish(1000);
    const second = pipeline.consumer();
    await pipeline.drained();
    await second.drain();
    expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    const ids = await pipeline.database.sql`select distinct topic_id from pipeline_offsets`;
    expect(ids.map((row) => String(row["topic_id"]))).toEqual([expect.stringMatching(/^cluster-[\w-]{22}$/)]);
    expect(proxy.cappedAnswers).toBeGreaterThan(0);
  },
  120_000,
);
