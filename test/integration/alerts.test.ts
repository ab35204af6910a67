// A running consumer and things that go wrong in; each alert once in its log, its metrics and its webhook out.
import { expect } from "bun:test";
import { eventually } from "../support/eventually.ts";
import { type TestConsumer, TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import { kafkaTest } from "../support/requirements.ts";
import { WebhookReceiver } from "../support/webhook-receiver.ts";

function webhookAt({ port }: WebhookReceiver): Record<string, string> {
  return { ALERT_WEBHOOK_URL: `http://127.0.0.1:${port}/services/T0SECRET` };
}

/** What the log says of alerts: `alert` when one began, `alert over` when it ended. */
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

kafkaTest(
  "PostgreSQL freezes and thaws: one alert begins once and ends once, in the log, the metrics and the webhook",
  async () => {
    await using server = await startPostgres();
    await using receiver = new WebhookReceiver();
    await using pipeline = await TestPipeline.start({
      database: await server.database(),
      // What waited for the thaw is slow, and an alert of its own.
      env: { ...webhookAt(receiver), ALERT_PROCESSING_LATENCY_THRESHOLD: "600" },
    });
    await pipeline.publish(500);
    const consumer = pipeline.consumer();
    await pipeline.drained();
    await server.signal("STOP");
    try {
      await pipeline.publish(500);
      await eventually("the alert is posted", () => receiver.messages.length === 1, { timeoutMs: 45_000 });
    } finally {
      await server.signal("CONT");
    }
    await eventually("its end is posted", () => receiver.messages.length === 2, { timeoutMs: 45_000 });
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
  150_000,
);

kafkaTest(
  "a burst of bad records is one alert; a receiver that is not there holds up neither the flow nor the end",
  async () => {
    let port: number;
    {
      await using free = new WebhookReceiver();
      port = free.port;
    }
    await using pipeline = await TestPipeline.start({
      env: { ALERT_WEBHOOK_URL: `http://127.0.0.1:${port}/services/T0SECRET` },
    });
    const consumer = pipeline.consumer();
    await pipeline.publish(500);
    await pipeline.send(Array.from({ length: 100 }, () => ({ value: Buffer.from("{") })));
    await consumer.program.printed(/"alert":"high_error_rate"/);
    await consumer.program.printed(/the alert webhook \(ALERT_WEBHOOK_URL\) does not answer/);
    // More of them, in the same minute, are the same alert.
    await pipeline.send(Array.from({ length: 100 }, () => ({ value: Buffer.from("{") })));
    await pipeline.publish(500);
    await pipeline.until("all is stored", async () => (await pipeline.consumed()) === 1200);
    expect(await counted(consumer)).toEqual({ high_error_rate: 1 });
    await consumer.drain();
    // It ends with the program.
    expect(logged(consumer)).toEqual(["alert high_error_rate", "alert over high_error_rate"]);
    expect(consumer.program.stdout.match(/ALERT_WEBHOOK_URL\)/g)).toHaveLength(1);
    expect(consumer.program.stdout).toContain("these alerts could not be posted to the alert webhook");
    expect(consumer.program.output).not.toContain("T0SECRET");
  },
  60_000,
);

kafkaTest(
  "a thread that dies is told of before the process ends",
  async () => {
    await using receiver = new WebhookReceiver();
    await using pipeline = await TestPipeline.start({ env: webhookAt(receiver) });
    await pipeline.publish(100);
    const consumer = pipeline.consumer();
    await pipeline.drained();
    await pipeline.settled();
    const { sql } = pipeline.database;
    // No retry mends this: the thread that loses its connection finds the database in other hands.
    await sql`update pipeline_state set consumer_group = 'thief'`;
    await sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline worker %'`;
    expect(await consumer.program.exit()).toBe(1);
    expect(receiver.edges()).toEqual(["firing pipeline_failure"]);
    expect(receiver.summaries()[0]).toMatch(
      /^the program ends: worker \d has ended: the consumer group "thief" has taken over this database/,
    );
    expect(logged(consumer)).toEqual(["alert pipeline_failure"]);
    // It did not wait for the others to drain, which may take most of a minute.
    const { stdout } = consumer.program;
    expect(stdout.indexOf('"alert":"pipeline_failure"')).toBeLessThan(stdout.indexOf('"msg":"stopped"'));
  },
  60_000,
);
