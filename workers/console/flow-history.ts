// The consumer's counters, once a second, in; rates, latencies and lag, now and for the last minutes, out.

import type { Flow, FlowPoint, Quantiles } from "../../shared/api-schema.ts";
import type { CounterName, HistogramName } from "../../shared/telemetry/metrics.ts";
import { quantilesOf } from "../../shared/telemetry/quantiles.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { History } from "./history.ts";

/** The workers report four times a second: over less than this the rate of a steady flow would not be steady. */
const RATE_WINDOW_MS = 3000;
const QUANTILE_WINDOW_MS = 10_000;

interface Sample {
  readonly atMs: number;
  readonly monotonicMs: number;
  readonly totals: Flow["totals"];
  readonly processing: Float64Array;
  readonly age: Float64Array;
}

export class FlowHistory {
  readonly #metrics: MetricsRegistry;
  readonly #lag: () => number | undefined;
  /** As far back as the longest window. */
  readonly #samples: Sample[] = [];
  readonly #points = new History<FlowPoint>();

  /** @param lag records behind, undefined where that is not known */
  constructor(metrics: MetricsRegistry, lag: () => number | undefined) {
    this.#metrics = metrics;
    this.#lag = lag;
    this.sample(Date.now(), performance.now());
  }

  /** To be called once a second. */
  sample(atMs: number, monotonicMs: number): void {
    this.#samples.push(this.#take(atMs, monotonicMs));
    while (this.#samples.length > 2 && monotonicMs - this.#samples[1]!.monotonicMs >= QUANTILE_WINDOW_MS) {
      this.#samples.shift();
    }
    this.#points.push(this.#point());
  }

  now(): Flow {
    const [lastCommit] = this.#metrics.values("last_event_processed_unixtime");
    return {
      now: this.#points.last(),
      totals: this.#samples.at(-1)!.totals,
      lastCommitAtMs: lastCommit === undefined ? null : lastCommit.value * 1000,
    };
  }

  points(): FlowPoint[] {
    return this.#points.all();
  }

  #take(atMs: number, monotonicMs: number): Sample {
    const sum = (name: CounterName): number => this.#metrics.total(name);
    return {
      atMs,
      monotonicMs,
      totals: {
        consumed: sum("events_consumed_total"),
        stored: sum("events_processed_total"),
        duplicates: sum("duplicate_events_total"),
        deadLetters: sum("dead_letter_events_total"),
        late: sum("late_events_total"),
        bytes: sum("bytes_total"),
      },
      processing: this.#metrics.histogram("event_processing_duration_seconds").counts,
      age: this.#metrics.histogram("event_age_at_commit_seconds").counts,
    };
  }

  #point(): FlowPoint {
    const now = this.#samples.at(-1)!;
    const first = this.#samples[0]!;
    const before = this.#samples.findLast((sample) => now.monotonicMs - sample.monotonicMs >= RATE_WINDOW_MS);
    const perSecond = perSecondSince(before ?? first, now);
    return {
      atMs: now.atMs,
      consumedPerSecond: perSecond("consumed"),
      storedPerSecond: perSecond("stored"),
      duplicatesPerSecond: perSecond("duplicates"),
      deadLettersPerSecond: perSecond("deadLetters"),
      bytesPerSecond: perSecond("bytes"),
      lagRecords: this.#lag() ?? null,
      processing: quantilesSince(first.processing, now.processing, "event_processing_duration_seconds"),
      age: quantilesSince(first.age, now.age, "event_age_at_commit_seconds"),
    };
  }
}

function perSecondSince(before: Sample, now: Sample): (name: keyof Flow["totals"]) => number {
  const seconds = (now.monotonicMs - before.monotonicMs) / 1000;
  return (name) => (seconds <= 0 ? 0 : rounded((now.totals[name] - before.totals[name]) / seconds));
}

function quantilesSince(before: Float64Array, now: Float64Array, metric: HistogramName): Quantiles | null {
  const found = quantilesOf(
    metric,
    now.map((count, index) => count - before[index]!),
  );
  if (found === undefined) return null;
  return { p50: rounded(found.p50), p95: rounded(found.p95), p99: rounded(found.p99) };
}

/** Five digits that count: more is noise, and weighs on the wire. */
function rounded(value: number): number {
  return Number(value.toPrecision(5));
}
