// Samples the consumer's counters once a second and keeps rates, latencies and lag of the last five minutes.

import type { Flow, FlowPoint, Quantiles } from "../../shared/api-schema.ts";
import type { CounterName, HistogramName } from "../../shared/telemetry/metrics.ts";
import { quantilesOf } from "../../shared/telemetry/quantiles.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { SlidingWindow } from "../../shared/telemetry/sliding-window.ts";

/** The workers report four times a second: over a shorter time the rate of a steady flow would not look steady. */
const RATE_WINDOW_MS = 3000;
const QUANTILE_WINDOW_MS = 10_000;
const HISTORY_MS = 300_000;

interface Sample {
  readonly totals: Flow["totals"];
  readonly processing: Float64Array;
  readonly age: Float64Array;
}

export class FlowHistory {
  readonly #metrics: MetricsRegistry;
  readonly #lag: () => number | undefined;
  readonly #samples = new SlidingWindow<Sample>(QUANTILE_WINDOW_MS);
  readonly #points = new SlidingWindow<FlowPoint>(HISTORY_MS);

  /** @param lag records behind; undefined while that is unknown */
  constructor(metrics: MetricsRegistry, lag: () => number | undefined) {
    this.#metrics = metrics;
    this.#lag = lag;
    this.sample(Date.now(), performance.now());
  }

  /** To be called once a second. */
  sample(atMs: number, monotonicMs: number): void {
    this.#samples.push(monotonicMs, {
      totals: this.#totals(),
      processing: this.#metrics.histogram("event_processing_duration_seconds").counts,
      age: this.#metrics.histogram("event_age_at_commit_seconds").counts,
    });
    this.#points.push(monotonicMs, this.#point(atMs));
  }

  /** The totals of this moment; the rates and latencies of the last sample. */
  now(): Flow {
    return { now: this.#points.newest, totals: this.#totals() };
  }

  /** Oldest first. */
  points(): FlowPoint[] {
    return this.#points.samples();
  }

  #totals(): Flow["totals"] {
    const sum = (name: CounterName): number => this.#metrics.total(name);
    return {
      consumed: sum("events_consumed_total"),
      stored: sum("events_processed_total"),
      duplicates: sum("duplicate_events_total"),
      deadLetters: sum("dead_letter_events_total"),
    };
  }

  #point(atMs: number): FlowPoint {
    const { totals, processing, age } = this.#samples.newest;
    const before = this.#samples.baseline(RATE_WINDOW_MS);
    const oldest = this.#samples.baseline();
    const seconds = this.#samples.spanMs(RATE_WINDOW_MS) / 1000;
    const perSecond = (name: keyof Flow["totals"]): number =>
      seconds <= 0 ? 0 : rounded((totals[name] - before.totals[name]) / seconds);
    return {
      atMs,
      consumedPerSecond: perSecond("consumed"),
      deadLettersPerSecond: perSecond("deadLetters"),
      lagRecords: this.#lag() ?? null,
      processing: quantilesSince(oldest.processing, processing, "event_processing_duration_seconds"),
      age: quantilesSince(oldest.age, age, "event_age_at_commit_seconds"),
    };
  }
}

function quantilesSince(before: Float64Array, now: Float64Array, metric: HistogramName): Quantiles | null {
  const found = quantilesOf(
    metric,
    now.map((count, index) => count - before[index]!),
  );
  if (found === undefined) return null;
  return { p50: rounded(found.p50), p95: rounded(found.p95), p99: rounded(found.p99) };
}

/** Five significant digits: more is noise and adds to every message. */
function rounded(value: number): number {
  return Number(value.toPrecision(5));
}
