import { expect, test } from "bun:test";
import { insertPipelineMetrics } from "../../shared/store/pipeline-metrics.ts";
import { openSession, pipelineDatabase } from "./pipeline-database.ts";

test("insertPipelineMetrics writes samples with their labels and one time", async () => {
  await using database = await pipelineDatabase();
  const session = await openSession(database, { role: "main" });
  const samples = [
    { name: "events_consumed_total", value: 9_007_199_254_740_991, labels: { topic: "user-events" } },
    { name: "db_batch_size", value: 0.1, labels: {} },
    { name: "odd", value: 1e-300, labels: { quote: '"\\,{}', unicode: "é😀", NULL: "NULL" } },
  ];
  await session.run((sql) => insertPipelineMetrics(sql, samples));
  await session.run((sql) => insertPipelineMetrics(sql, []));
  const rows = await database.sql`
    select metric_name as name, metric_value as value, labels, count(*) over (partition by recorded_at)::int as at_once
    from pipeline_metrics order by id`;
  expect(rows.map((row) => ({ ...row }))).toEqual(
    samples.map((sample) => ({ ...sample, at_once: samples.length })),
  );
  session.destroy();
});
