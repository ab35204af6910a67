// Runs a consumer into faults and expects each alert once in its log, its metrics and its webhook.
import { describe, expect } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

/** Records that waited for the machine or for PostgreSQL are slow, which would be another alert. */
const ANY_LATENCY = { ALERT_PROCESSING_LATENCY_THRESHOLD: "600" };
/** Nothing listens there. */
const NO_RECEIVER_PORT = 1;

function webhookAt(port: number): Record<string, string> {
  return { ALERT_WEBHOOK_URL: `http://127.0.0.1:${port}/services/T0SECRET` };
}

/** The alerts in the log: `alert` when one began, `alert over` when it ended. */
function logged({ program }: TestConsumer): string[] {
  return program.stdout
    .split("\n")
    .filter((line) => line.includes('"alert":'))
    .map((line) => JSON.parse(line) as { msg: string; alert: string })
    .map(({ msg, alert }) => `${msg.split(":")[0]} ${alert}`);
}

/** The alerts that the metrics have counted. */
async function counted(consumer: TestConsumer): Promise<Record<string, number>> {
  const samples = (await consumer.scrape()).find("alerts_fired_total").filter(({ value }) => value > 0);
  return Object.fromEntries(samples.map(({ labels, value }) => [labels["alert_type"]!, value]));
}

describe("alert", () => {
  kafkaTest(
    "begins once when PostgreSQL freezes and ends once when it thaws, in the log, the metrics and the webhook",
    async () => {
      await using server = await startPostgres();
      await using receiver = new WebhookReceiver();
      await using pipeline = await TestPipeline.start({
        database: await server.database(),
        env: { ...webhookAt(receiver.port), ...ANY_LATENCY },
      });
      await pipeline.publish(500);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await server.signal("STOP");
      try {
        await pipeline.publish(500);
        await eventually("the alert is posted", () => receiver.messages.length === 1, { timeoutMs: 60_000 });
      } finally {
        await server.signal("CONT");
      }
      await eventually("its end is posted", () => receiver.messages.length === 2, { timeoutMs: 60_000 });
      await pipeline.drained();
      expect(receiver.edges()).toEqual(["firing db_connection_failure", "resolved db_connection_failure"]);
      expect(receiver.summaries()[0]).toStartWith("PostgreSQL is unreachable");
      expect(await counted(consumer)).toEqual({ db_connection_failure: 1 });
      await consumer.drain();
      expect(logged(consumer)).toEqual(["alert db_connection_failure", "alert over db_connection_failure"]);
      expect(consumer.program.output).not.toContain("T0SECRET");
      expect(receiver.messages).toHaveLength(2);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    240_000,
  );

  kafkaTest(
    "fires once for a burst of bad records; a missing receiver delays neither the flow nor the end",
    async () => {
      await using pipeline = await TestPipeline.start({
        env: { ...webhookAt(NO_RECEIVER_PORT), ...ANY_LATENCY },
      });
      const consumer = pipeline.consumer();
      await pipeline.publish(500);
      await pipeline.send(Array.from({ length: 100 }, () => ({ value: Buffer.from("{") })));
      await consumer.program.printed(/"alert":"high_error_rate"/);
      // Further faults while the alert is active belong to the same alert.
      await pipeline.send(Array.from({ length: 100 }, () => ({ value: Buffer.from("{") })));
      await pipeline.publish(500);
      await consumer.program.printed(/the alert webhook \(ALERT_WEBHOOK_URL\) does not answer/);
      await pipeline.until("all is stored", async () => (await pipeline.consumed()) === 1200);
      expect(await counted(consumer)).toEqual({ high_error_rate: 1 });
      await consumer.drain();
      // The alert ends with the program.
      expect(logged(consumer)).toEqual(["alert high_error_rate", "alert over high_error_rate"]);
      expect(consumer.program.stdout.match(/ALERT_WEBHOOK_URL\)/g)).toHaveLength(1);
      expect(consumer.program.stdout).toContain("these alerts could not be posted to the alert webhook");
      expect(consumer.program.output).not.toContain("T0SECRET");
    },
    120_000,
  );

  kafkaTest(
    "reports a thread that dies before the process ends",
    async () => {
      await using receiver = new WebhookReceiver();
      await using pipeline = await TestPipeline.start({
        env: { ...webhookAt(receiver.port), ...ANY_LATENCY },
      });
      await pipeline.publish(100);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await pipeline.settled();
      const { sql } = pipeline.database;
      // No retry fixes this: the thread that loses its connection finds that another group has taken the database over.
      await sql`update pipeline_state set consumer_group = 'thief'`;
      await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name like 'event-pipeline worker %'`;
      expect(await consumer.program.exit(60_000)).toBe(1);
      expect(receiver.edges()).toEqual(["firing pipeline_failure"]);
      expect(receiver.summaries()[0]).toMatch(
        /^the program ends: worker \d has ended: the consumer group "thief" has taken over this database/,
      );
      expect(logged(consumer)).toEqual(["alert pipeline_failure"]);
      // The alert does not wait for the others to drain, which may take most of a minute.
      const { stdout } = consumer.program;
      expect(stdout.indexOf('"alert":"pipeline_failure"')).toBeLessThan(stdout.indexOf('"msg":"stopped"'));
    },
    150_000,
  );
});
