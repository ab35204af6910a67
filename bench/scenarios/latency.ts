// Measures the time from publishing an event until a reader sees it in its hour, under steady loads.
import { type Static, Type } from "typebox";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import type { Bench } from "../bench.ts";
import { toDigits } from "../columns.ts";
import { endLoad, probe, startLoad } from "../load.ts";
import type { Scenario } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";
import { quantile } from "../statistics.ts";

const LoadShape = Type.Object(
  {
    ratePerSecond: Rate,
    /** What was stored meanwhile; less than the rate where it does not keep up. */
    eventsPerSecond: Rate,
    samples: Count,
    p50Ms: Rate,
    p90Ms: Rate,
    p99Ms: Rate,
  },
  closed,
);

/** The time from publishing an event until a reader sees it in its hour. */
const LatencyShape = Type.Object({ maximumPerSecond: Rate, loads: Type.Array(LoadShape) }, closed);
type Load = Static<typeof LoadShape>;
type Latency = Static<typeof LatencyShape>;

const RATES_PER_SECOND = [1000, 10_000, 50_000];
const SAMPLES = 300;
/** Between two probes; not a multiple of any interval of the pipeline. */
const PAUSE_MS = 37;

export const latencyScenario: Scenario<typeof LatencyShape> = {
  about:
    "the time from the producer to the visible row of the hour, at 1,000, 10,000 and 50,000 events/s, as far as\n" +
    "these are below half of the rate of a drain, and at that half",
  shape: LatencyShape,
  async run(bench, { maximum, say }) {
    const maximumPerSecond = await maximum();
    const half = Math.round(maximumPerSecond / 2);
    const loads: Load[] = [];
    for (const ratePerSecond of [...RATES_PER_SECOND.filter((fixed) => fixed < half), half]) {
      const load = await underLoad(bench, ratePerSecond);
      say(`latency at ${count(ratePerSecond)} events/s: ${toDigits(load.p99Ms, 1)} ms p99`);
      loads.push(load);
    }
    return { maximumPerSecond, loads };
  },
  lines,
};

async function underLoad(bench: Bench, ratePerSecond: number): Promise<Load> {
  await using pipeline = await bench.pipeline(await bench.topic());
  const consumer = pipeline.consumer();
  await pipeline.settled();
  await using load = await startLoad(pipeline, ratePerSecond);
  const before = { consumed: await pipeline.consumed(), atMs: performance.now() };
  const tookMs: number[] = [];
  for (let sample = 0; sample < SAMPLES; sample++) {
    tookMs.push(await probe(pipeline, `probe_${sample}`));
    await Bun.sleep(PAUSE_MS);
  }
  const seconds = (performance.now() - before.atMs) / 1000;
  const eventsPerSecond = ((await pipeline.consumed()) - before.consumed) / seconds;
  await endLoad(load);
  await consumer.drain();
  await bench.kafka.deleteTopic(pipeline.topic);
  return {
    ratePerSecond,
    eventsPerSecond,
    samples: SAMPLES,
    p50Ms: quantile(tookMs, 0.5),
    p90Ms: quantile(tookMs, 0.9),
    p99Ms: quantile(tookMs, 0.99),
  };
}

function lines({ maximumPerSecond, loads }: Latency): string[] {
  return [
    "",
    `latency: from the producer to its hour, ${SAMPLES} samples each; a drain stores ${count(maximumPerSecond)} events/s`,
    ...formatTable(
      ["events/s", "stored/s", "p50 ms", "p90 ms", "p99 ms"],
      loads.map(({ ratePerSecond, eventsPerSecond, p50Ms, p90Ms, p99Ms }) => [
        ratePerSecond,
        Math.round(eventsPerSecond),
        ...[p50Ms, p90Ms, p99Ms].map((ms) => toDigits(ms, 1)),
      ]),
    ),
  ];
}
