// Measures the time from publishing an event until a reader sees it in its hour, under a steady load.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import type { TestPipeline } from "../../test/support/pipeline.ts";
import { startProducer } from "../../test/support/process.ts";
import type { Bench } from "../bench.ts";
import { toDigits } from "../columns.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";

/** The time from publishing an event until a reader sees it in its hour. */
const LatencyShape = Type.Object(
  { ratePerSecond: Rate, samples: Count, p50Ms: Rate, p90Ms: Rate, p99Ms: Rate },
  closed,
);
type Latency = Static<typeof LatencyShape>;

export const latencyScenario: Scenario<typeof LatencyShape> = {
  about: "the time from the producer to the visible row of the hour, at 1,000 events/s",
  shape: LatencyShape,
  run: (bench) => measureLatency(bench, RATE),
  lines,
};

const RATE = 1000;
const SAMPLES = 200;
/** Between two probes; not a multiple of any interval of the pipeline. */
const PAUSE_MS = 37;

/** Publishes probes beside the load, each with an event type that no other has, and waits for its row in hourly_aggregations. */
async function measureLatency(bench: Bench, ratePerSecond: number): Promise<Latency> {
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

function lines({ ratePerSecond, samples, p50Ms, p90Ms, p99Ms }: Latency): string[] {
  const [p50, p90, p99] = [p50Ms, p90Ms, p99Ms].map((ms) => toDigits(ms, 1));
  return [
    "",
    `latency: ${p50} ms p50, ${p90} ms p90, ${p99} ms p99, from the producer to its hour at ${count(ratePerSecond)} events/s (${samples} samples)`,
  ];
}
