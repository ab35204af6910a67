// Measures the time from publishing an event until a reader sees it in its hour, under a steady load.
import type { Bench } from "../bench.ts";
import type { Latency } from "../report.ts";
import { startProducer } from "../../test/support/process.ts";
import type { TestPipeline } from "../../test/support/pipeline.ts";

const SAMPLES = 200;
/** Between two probes; not a multiple of any interval of the pipeline. */
const PAUSE_MS = 37;

/** Publishes probes beside the load, each with an event type that no other has, and waits for its row in hourly_aggregations. */
export async function latency(bench: Bench, ratePerSecond: number): Promise<Latency> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const consumer = pipeline.consumer();
  await pipeline.settled();
  await using load = startProducer(pipeline, { PRODUCER_RATE: String(ratePerSecond) });
  await pipeline.until("the load flows", async () => (await pipeline.consumed()) > ratePerSecond);
  const tookMs: number[] = [];
  for (let probe = 0; probe < SAMPLES; probe++) {
    tookMs.push(await probeOnce(pipeline, `probe_${probe}`));
    await Bun.sleep(PAUSE_MS);
  }
  load.signal("SIGTERM");
  await load.exit();
  await consumer.drain();
  const sorted = tookMs.toSorted((a, b) => a - b);
  const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
  return {
    ratePerSecond,
    samples: SAMPLES,
    p50Ms: quantile(0.5),
    p90Ms: quantile(0.9),
    p99Ms: quantile(0.99),
  };
}

async function probeOnce(pipeline: TestPipeline, eventType: string): Promise<number> {
  const { sql } = pipeline.database;
  const startedAt = performance.now();
  const sent = pipeline.publishValue(
    JSON.stringify({
      event_id: eventType,
      user_id: "probe",
      event_type: eventType,
      timestamp: new Date().toISOString(),
      event_data: {},
    }),
  );
  for (;;) {
    const [row] = await sql`select 1 as seen from hourly_aggregations where event_type = ${eventType}`;
    if (row !== undefined) break;
    if (performance.now() - startedAt > 30_000)
      throw new Error(`${eventType} did not appear in hourly_aggregations within 30 s`);
    await Bun.sleep(1);
  }
  const tookMs = performance.now() - startedAt;
  await sent;
  return tookMs;
}
