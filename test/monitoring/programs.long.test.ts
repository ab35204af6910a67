// Checks the scrapes of the running programs with promtool, and tries the runbook's queries on them.
import { describe, expect } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startProducer } from "../support/process.ts";
import { startPrometheus } from "../support/prometheus.ts";
import { monitoringTest } from "../support/requirements.ts";
import { codeBlocks } from "./runbook.ts";

/** @returns the complaints of `promtool check metrics`; "" = none */
async function complaints(port: number): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const child = Bun.spawn(["promtool", "check", "metrics"], {
    stdin: new Blob([await answer.text()]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  const exitCode = await child.exited;
  return `${stdout}${stderr}${exitCode === 0 ? "" : `exit code ${exitCode}`}`;
}

describe("running programs", () => {
  monitoringTest(
    "have metrics that promtool accepts, and data for every query of the runbook",
    async () => {
      await using pipeline = await TestPipeline.start();
      const consumer = pipeline.consumer();
      await using producer = startProducer(pipeline, { PRODUCER_RATE: "200" });
      const producerPort = await producer.port();
      const consumerPort = await consumer.port();
      // With duplicates and dead letters: every series that there can be without a fault.
      await pipeline.publish(1000);
      await producer.metrics(producerPort, "events are acknowledged", (found) =>
        Boolean(found.value("events_produced_total")),
      );
      await consumer.program.metrics(
        consumerPort,
        "dead letters are counted",
        (found) =>
          (found.value("dead_letter_events_total") ?? 0) >= pipeline.published.broken &&
          found.find("kafka_consumer_lag").length === 6,
      );
      expect({ producer: await complaints(producerPort), consumer: await complaints(consumerPort) }).toEqual({
        producer: "",
        consumer: "",
      });

      const queries = codeBlocks("promql");
      expect(queries.length).toBeGreaterThan(8);
      await using prometheus = await startPrometheus({
        producers: [`127.0.0.1:${producerPort}`],
        consumers: [`127.0.0.1:${consumerPort}`],
        scrapeIntervalMs: 500,
      });
      for (const query of queries) {
        await eventually(`data for ${query}`, async () => (await prometheus.query(query)).length > 0, {
          timeoutMs: 60_000,
          everyMs: 200,
        });
      }
      const statements = codeBlocks("sql");
      expect(statements.length).toBeGreaterThan(5);
      for (const statement of statements) {
        expect((await pipeline.database.sql.unsafe(statement)).length).toBeGreaterThan(0);
      }
    },
    240_000,
  );
});
