// Runs the programs on a database whose owner has set all that can be set otherwise.
import { expect, setDefaultTimeout } from "bun:test";
import { HOSTILE_SETTINGS, setHostileSettings, STRANGE_SETTINGS } from "../store/hostile-settings.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

setDefaultTimeout(120_000);

kafkaTest("settings of the database do no harm to the consumer, its console and check", async () => {
  await using pipeline = await TestPipeline.start({ env: { FLUSH_INTERVAL_SECONDS: "0.5" } });
  await setHostileSettings(pipeline.database, { ...HOSTILE_SETTINGS, ...STRANGE_SETTINGS });
  // Batches that repeat an event go by INSERT, the others by COPY.
  await pipeline.publish(14_000);
  const consumer = pipeline.consumer();
  await pipeline.drained();
  await pipeline.until("hours are closed and metrics are written", async () => {
    const [row] = await pipeline.database.sql`
      select (select count(*) from pipeline_metrics) > 0 and
        not exists (select from hourly_aggregations where closed_at is null) as done`;
    return row?.["done"] === true;
  });
  for (const [page, content] of [
    ["ledger", '"balances": true'],
    ["hours", '"events"'],
  ] as const) {
    const answer = await fetch(`http://127.0.0.1:${await consumer.port()}/api/${page}`);
    expect({ status: answer.status, body: await answer.text() }).toEqual({
      status: 200,
      body: expect.stringContaining(content),
    });
  }
  await consumer.drain();
  expect(consumer.program.stderr).toBe("");
  expect(consumer.program.stdout).not.toMatch(/"level":"error"|"cause":/);
  expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
});
