// Inserts samples of the pipeline's metrics into pipeline_metrics.

import type { Database } from "./session.ts";
import { numberArray, textArray } from "./array-literal.ts";

/** The value of one metric. */
export interface MetricSample {
  readonly name: string;
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** Inserts samples, all with the time of the statement. */
export async function insertPipelineMetrics(sql: Database, samples: readonly MetricSample[]): Promise<void> {
  if (samples.length === 0) return;
  await sql.unsafe(
    `insert into pipeline_metrics (metric_name, metric_value, labels)
     select name, value, labels::jsonb from unnest($1::text[], $2::float8[], $3::text[]) as m (name, value, labels)`,
    [
      textArray(samples.map(({ name }) => name)),
      numberArray(samples.map(({ value }) => value)),
      textArray(samples.map(({ labels }) => JSON.stringify(labels))),
    ],
  );
}
