// Measures rate, latency and memory over an hour of steady load.
import { type Static, Type } from "typebox";
import { clock, count } from "../../shared/text/format.ts";
import type { TestDatabase } from "../../test/support/postgres.ts";
import type { TestPipeline } from "../../test/support/pipeline.ts";
import type { Bench } from "../bench.ts";
import { toDigits } from "../columns.ts";
import { endLoad, probe, startLoad } from "../load.ts";
import { residentMiB } from "../processes.ts";
import type { Scenario, ScenarioOptions } from "../scenario.ts";
import { Count, Rate, closed } from "../shapes.ts";
import { quantile, slope } from "../statistics.ts";

const SampleShape = Type.Object(
  { atSeconds: Rate, eventsPerSecond: Type.Number(), latencyMs: Rate, rssMiB: Rate },
  closed,
);

const SoakShape = Type.Object(
  {
    seconds: Rate,
    ratePerSecond: Rate,
    /** What was stored: all of it, as proven at the end. */
    events: Count,
    eventsPerSecond: Rate,
    p50Ms: Rate,
    p99Ms: Rate,
    maxMs: Rate,
    /** The greatest of the samples. */
    rssMiB: Rate,
    /** By least squares, without the first tenth of the time. */
    rssSlopeMiBPerHour: Type.Number(),
    samples: Type.Array(SampleShape, { minItems: 2 }),
  },
  closed,
);
type Sample = Static<typeof SampleShape>;
type Soak = Static<typeof SoakShape>;

const DEFAULT_SECONDS = 3600;
const MOST_SAMPLES = 360;
const LEAST_PAUSE_MS = 500;
/** Of the time, before the memory counts: caches fill and the engine compiles. */
const WARM_UP_SHARE = 0.1;
/** Events in raw_events before it is emptied: an hour of them would fill a disk, and so would the topic. */
const RAW_EVENTS_KEPT = 10_000_000;
const RETENTION = { "retention.bytes": String(256 * 2 ** 20), "segment.bytes": String(64 * 2 ** 20) };
const SECONDS_PER_HOUR = 3600;

export const soakScenario: Scenario<typeof SoakShape> = {
  about:
    "stores half of the rate of a drain for an hour (or --seconds): rate, latency, memory and its slope.\n" +
    "It empties raw_events now and then, so that the disk holds it",
  shape: SoakShape,
  run: soak,
  lines,
};

async function soak(bench: Bench, options: ScenarioOptions): Promise<Soak> {
  const { seconds = DEFAULT_SECONDS, maximum, say } = options;
  const ratePerSecond = Math.round((await maximum()) / 2);
  await using pipeline = await bench.pipeline(await bench.topic(RETENTION));
  const consumer = pipeline.consumer();
  await pipeline.settled();
  await using load = await startLoad(pipeline, ratePerSecond);
  const startedAt = performance.now();
  const before = await pipeline.consumed();
  const pauseMs = Math.max(LEAST_PAUSE_MS, (seconds * 1000) / MOST_SAMPLES);
  const samples: Sample[] = [];
  let last = { atSeconds: 0, consumed: before };
  let emptiedAt = 0;
  while (last.atSeconds < seconds) {
    await Bun.sleep(pauseMs);
    const latencyMs = await probe(pipeline, `probe_${samples.length}`);
    const atSeconds = (performance.now() - startedAt) / 1000;
    const consumed = await pipeline.consumed();
    const eventsPerSecond = (consumed - last.consumed) / (atSeconds - last.atSeconds);
    samples.push({ atSeconds, eventsPerSecond, latencyMs, rssMiB: await residentMiB(consumer.program.pid) });
    last = { atSeconds, consumed };
    if (consumed - emptiedAt > RAW_EVENTS_KEPT) {
      emptiedAt = await emptyRawEvents(pipeline.database);
      say(`soak: ${clock(atSeconds * 1000)}, ${count(consumed)} events stored`);
    }
  }
  const published = (await endLoad(load)) + samples.length;
  await pipeline.until("all is stored", async () => (await pipeline.consumed()) >= published);
  await consumer.drain();
  await assertStored(pipeline, published, emptiedAt);
  await bench.kafka.deleteTopic(pipeline.topic);
  const tookMs = samples.map(({ latencyMs }) => latencyMs);
  return {
    seconds: last.atSeconds,
    ratePerSecond,
    events: published,
    eventsPerSecond: (last.consumed - before) / last.atSeconds,
    p50Ms: quantile(tookMs, 0.5),
    p99Ms: quantile(tookMs, 0.99),
    maxMs: Math.max(...tookMs),
    rssMiB: Math.max(...samples.map(({ rssMiB }) => rssMiB)),
    rssSlopeMiBPerHour: rssSlope(samples, seconds),
    samples,
  };
}

/** @returns the events that were stored when the table was empty: no transaction is between its COPY and its commit */
async function emptyRawEvents({ sql }: TestDatabase): Promise<number> {
  return await sql.begin(async (transaction) => {
    await transaction`truncate raw_events`;
    const [row] = await transaction`select sum(stored)::int as stored from pipeline_offsets`;
    return Number(row?.["stored"]);
  });
}

/** @throws Error unless each record is stored once, in raw_events (what came since it was emptied) and in its hour */
async function assertStored({ database: { sql } }: TestPipeline, published: number, emptiedAt: number) {
  const [found] = await sql`
    select
      (select sum(consumed)::int from pipeline_offsets) as consumed,
      (select sum(stored)::int from pipeline_offsets) as stored,
      (select sum(total_events)::int from hourly_aggregations) as in_hours,
      (select count(*)::int from raw_events) as raw`;
  const wanted = { consumed: published, stored: published, in_hours: published, raw: published - emptiedAt };
  if (Bun.deepEquals({ ...found }, wanted)) return;
  throw new Error(`stored ${JSON.stringify(found)}, but ${JSON.stringify(wanted)} were published`);
}

function rssSlope(samples: readonly Sample[], seconds: number): number {
  const warm = samples.filter(({ atSeconds }) => atSeconds > seconds * WARM_UP_SHARE);
  return slope(warm.map(({ atSeconds, rssMiB }) => [atSeconds / SECONDS_PER_HOUR, rssMiB]));
}

function lines(soaked: Soak): string[] {
  const { seconds, ratePerSecond, events, eventsPerSecond, p50Ms, p99Ms, maxMs, rssMiB } = soaked;
  const [p50, p99, max] = [p50Ms, p99Ms, maxMs].map((ms) => toDigits(ms, 1));
  return [
    "",
    `soak: ${clock(seconds * 1000)} at ${count(ratePerSecond)} events/s, ${count(eventsPerSecond)}/s stored, ${count(events)} in all, each once; ` +
      `latency ${p50} ms p50, ${p99} ms p99, ${max} ms at most; ` +
      `memory ${Math.round(rssMiB)} MiB at most, ${toDigits(soaked.rssSlopeMiBPerHour, 1)} MiB an hour`,
  ];
}
