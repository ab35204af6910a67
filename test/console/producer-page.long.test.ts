// Opens the producer's console in a browser, with a producer and Kafka behind it.
import { expect } from "bun:test";
import type { TSchema } from "typebox";
import { Compile } from "typebox/compile";
import { PRODUCER_SECTIONS } from "../../shared/api-schema.ts";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { startChromium, Visit } from "../support/browser.ts";
import { Program } from "../support/process.ts";
import { browserTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";

browserTest(
  "the producer's page shows what it has written to Kafka",
  async () => {
    await using browser = await startChromium();
    const [port = 0] = await freePorts(1);
    await using producer = Program.start("workers/producer.ts", {
      env: {
        KAFKA_BOOTSTRAP_SERVERS: (await sharedKafka()).bootstrapServers,
        KAFKA_TOPIC: `test-${crypto.randomUUID()}`,
        KAFKA_TOPIC_PARTITIONS: "1",
        PRODUCER_RATE: "200",
        METRICS_PORT_PRODUCER: String(port),
        PROMETHEUS_URL: "http://localhost:1",
      },
    });
    await producer.metrics(
      port,
      "the producer has written 200 records",
      (now) => (now.value("events_produced_total") ?? 0) > 200,
    );
    await using visit = await Visit.to(port, browser);
    await visit.until("the status is well", async () => (await visit.headline()) === "All is well");
    const produced = async () =>
      (await producer.metrics(port, "any", () => true)).value("events_produced_total") ?? 0;
    const types = async () => {
      const rows = await visit.table("types");
      return rows.reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const before = await produced();
    await visit.until("the page shows as much", async () => (await types()) >= before);
    const shown = await types();
    expect(await produced()).toBeGreaterThanOrEqual(shown);
    expect(shown).toBeGreaterThan(200);
    expect(Number(await visit.figure("Produced"))).toBeGreaterThan(0);
    expect(await visit.figure("Failed")).toBe("0");
    for (const [name, schema] of Object.entries(PRODUCER_SECTIONS)) {
      const answer: unknown = await (await fetch(`http://localhost:${port}/api/${name}`)).json();
      expect([name, Compile<TSchema>(schema).Errors(answer)]).toEqual([name, []]);
    }
    expect(await visit.overflows()).toBe(false);
    expect(visit.offences).toEqual([]);
  },
  120_000,
);
