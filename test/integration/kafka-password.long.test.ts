// Changes the password of the Kafka user while a consumer and a producer run.
import { expect } from "bun:test";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { Program } from "../support/process.ts";
import { clusterTest } from "../support/requirements.ts";

clusterTest(
  "consumer and producer go on with the new password from the file, after brokers have refused the old one",
  async () => {
    await using kafka = await KafkaCluster.start({ users: { app: "first-secret" } });
    await kafka.createTopic("events", { partitions: 2 });
    const file = join(await mkdtemp(join(tmpdir(), "pipeline-secret-")), "password");
    await Bun.write(file, "first-secret\n");
    const login = {
      KAFKA_CONFIG_SECURITY_PROTOCOL: "sasl_plaintext",
      KAFKA_CONFIG_SASL_MECHANISMS: "SCRAM-SHA-256",
      KAFKA_CONFIG_SASL_USERNAME: "app",
      KAFKA_CONFIG_SASL_PASSWORD_FILE: file,
    };
    await using pipeline = await TestPipeline.start({
      kafka: { bootstrapServers: kafka.bootstrapServers, topic: "events" },
      env: login,
      producer: {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanisms": "SCRAM-SHA-256",
        "sasl.username": "app",
        "sasl.password.file": file,
      },
    });
    const consumer = pipeline.consumer();
    await using producer = Program.start("workers/producer.ts", {
      env: {
        ...login,
        KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
        KAFKA_TOPIC: "events",
        PRODUCER_RATE: "100",
        METRICS_PORT_PRODUCER: "0",
      },
    });
    await eventually("records arrive", async () => (await pipeline.consumed()) > 500);

    await kafka.tool("kafka.admin.ConfigCommand", [
      "--alter",
      "--add-config",
      "SCRAM-SHA-256=[password=second-secret]",
      "--entity-type",
      "users",
      "--entity-name",
      "app",
    ]);
    // The connections stand, as the old password was right when they were made.
    await kafka.kill(0, "SIGTERM");
    await kafka.restart(0);
    await consumer.program.printed(/SASL authentication error/);
    await producer.printed(/SASL authentication error/);
    const before = await pipeline.consumed();
    await Bun.write(file, "second-secret\n");
    await eventually("records arrive again", async () => (await pipeline.consumed()) > before + 1000);
    for (const program of [consumer.program, producer]) {
      expect(program.running).toBe(true);
      expect(program.output).not.toMatch(/first-secret|second-secret/);
    }
  },
  180_000,
);
