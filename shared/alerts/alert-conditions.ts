// Evaluates the alert conditions of the consumer from its figures.

import type { MonitoringConfig } from "../config/config.ts";
import type { AlertType, ConditionState } from "./alerts.ts";
import { METRICS } from "../telemetry/metrics.ts";
import { quantilesOf } from "../telemetry/quantiles.ts";
import { SlidingWindow } from "../telemetry/sliding-window.ts";
import { percent } from "../text/format.ts";

/** The consumer at one moment. */
export interface ConsumerFigures {
  /** Committed records since the start, dead letters included. */
  readonly consumed: number;
  /** Those of `consumed` that became dead letters. */
  readonly failed: number;
  /** Seconds from the receipt of a record to its COMMIT, since the start: records per bucket, and the sum. */
  readonly processing: { readonly counts: ArrayLike<number>; readonly sum: number };
  /** Records not yet stored, over all partitions of this process. */
  readonly lag: number;
  /** What is wrong with the database, or with the flow, in one sentence; undefined if nothing is. */
  readonly databaseFault: string | undefined;
  readonly pipelineFault: string | undefined;
}

type Thresholds = Pick<
  MonitoringConfig,
  "errorRateThreshold" | "consumerLagThreshold" | "processingLatencyThresholdSeconds"
>;

const WINDOW_MS = 60_000;
/** With fewer dead letters, or fewer records, in the window a rate means nothing. */
const MIN_RECORDS = 10;
/** A breached condition is clear again at this share of its threshold. */
const CLEAR_SHARE = 0.8;

const LATENCY = "event_processing_duration_seconds";
const LAST_BOUND = METRICS[LATENCY].buckets.at(-1) ?? 0;

type Totals = Pick<ConsumerFigures, "consumed" | "failed" | "processing">;

/** Compares what happened in the last minute, rather than since the start, with the thresholds of ALERT_*. */
export class ConsumerConditions {
  readonly #thresholds: Thresholds;
  readonly #window = new SlidingWindow<Totals>(WINDOW_MS);

  constructor(thresholds: Thresholds) {
    this.#thresholds = thresholds;
    this.#window.push(0, { consumed: 0, failed: 0, processing: { counts: [], sum: 0 } });
  }

  /** @param nowMs monotonic */
  evaluate(figures: ConsumerFigures, nowMs: number): ConditionState[] {
    const { consumed, failed, processing, lag, databaseFault, pipelineFault } = figures;
    this.#window.push(nowMs, { consumed, failed, processing });
    const begin = this.#window.baseline();
    return [
      this.#errorRate(consumed - begin.consumed, failed - begin.failed),
      this.#latency(begin.processing, processing),
      this.#lag(lag),
      faultState("db_connection_failure", databaseFault),
      faultState("pipeline_failure", pipelineFault),
    ];
  }

  #errorRate(consumed: number, failed: number): ConditionState {
    const threshold = this.#thresholds.errorRateThreshold;
    const rate = failed < MIN_RECORDS ? 0 : failed / consumed;
    const summary =
      `${percent(rate)} of the records of the last minute became dead letters ` +
      `(${failed} of ${consumed}), more than ${percent(threshold)}`;
    return { type: "high_error_rate", state: compare(rate, threshold), summary };
  }

  #latency(begin: ConsumerFigures["processing"], now: ConsumerFigures["processing"]): ConditionState {
    const threshold = this.#thresholds.processingLatencyThresholdSeconds;
    const counts = Array.from(now.counts, (count, index) => count - (begin.counts[index] ?? 0));
    const records = counts.reduce((total, count) => total + count, 0);
    const seconds = records < MIN_RECORDS ? 0 : highLatency(counts, records, now.sum - begin.sum);
    const summary =
      `5 % of the records of the last minute took ${seconds.toFixed(2)} s or more from receipt to COMMIT, ` +
      `the threshold is ${threshold} s`;
    return { type: "high_processing_latency", state: compare(seconds, threshold), summary };
  }

  #lag(lag: number): ConditionState {
    const threshold = this.#thresholds.consumerLagThreshold;
    const summary = `this consumer is ${lag} records behind, more than ${threshold}`;
    return { type: "high_consumer_lag", state: compare(lag, threshold), summary };
  }
}

/** @param fault one sentence; undefined when there is none */
export function faultState(type: AlertType, fault: string | undefined): ConditionState {
  return { type, state: fault === undefined ? "clear" : "breached", summary: fault ?? "" };
}

function compare(value: number, threshold: number): ConditionState["state"] {
  if (value > threshold) return "breached";
  return value <= threshold * CLEAR_SHARE ? "clear" : "between";
}

/** The 95th percentile. Beyond the last bound the buckets do not tell how far; the mean does, if it is higher. */
function highLatency(counts: readonly number[], records: number, sum: number): number {
  const { p95 = 0 } = quantilesOf(LATENCY, counts) ?? {};
  return p95 < LAST_BOUND ? p95 : Math.max(p95, sum / records);
}
