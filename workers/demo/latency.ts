// Scrapes of the consumer's metrics in; how old events are when they are committed, lately and altogether, out.
import type { METRICS } from "../../shared/telemetry/metrics.ts";
import { quantilesOf } from "../../shared/telemetry/quantiles.ts";

export interface Latency {
  /** Half of the events were younger, in seconds. */
  readonly p50: number;
  readonly p99: number;
}

/** Observations up to each bound, cumulated; the last one counts all. */
type Buckets = readonly { readonly bound: number; readonly count: number }[];

const METRIC = "event_age_at_commit_seconds" satisfies keyof typeof METRICS;
const BUCKET_LINE = new RegExp(`^${METRIC}_bucket\\{le="([^"]+)"\\} (\\S+)$`, "gm");
const WINDOW_MS = 10_000;

/** Keeps the scrapes of the last ten seconds. */
export class LatencyWindow {
  readonly #scrapes: { readonly atMs: number; readonly buckets: Buckets }[] = [];

  /** @param text of a scrape; one without the histogram changes nothing */
  add(atMs: number, text: string): void {
    const buckets = readBuckets(text);
    if (buckets.length === 0) return;
    this.#scrapes.push({ atMs, buckets });
    while (this.#scrapes.length > 2 && this.#scrapes[1]!.atMs <= atMs - WINDOW_MS) this.#scrapes.shift();
  }

  /** Of the events committed in the last ten seconds; undefined where there are none. */
  recent(): Latency | undefined {
    const before = this.#scrapes[0];
    const now = this.#scrapes.at(-1);
    if (before === undefined || now === undefined) return undefined;
    if (before === now) return latencyOf(now.buckets);
    const difference = now.buckets.map(({ bound, count }, index) => ({
      bound,
      count: count - (before.buckets[index]?.count ?? 0),
    }));
    return latencyOf(difference);
  }

  /** Of all events. */
  overall(): Latency | undefined {
    const now = this.#scrapes.at(-1);
    return now === undefined ? undefined : latencyOf(now.buckets);
  }
}

function readBuckets(text: string): Buckets {
  return text
    .matchAll(BUCKET_LINE)
    .map(([, bound, count]) => ({ bound: bound === "+Inf" ? Infinity : Number(bound), count: Number(count) }))
    .toArray();
}

function latencyOf(buckets: Buckets): Latency | undefined {
  return quantilesOf(
    METRIC,
    buckets.map(({ count }, index) => count - (buckets[index - 1]?.count ?? 0)),
  );
}
