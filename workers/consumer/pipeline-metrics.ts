// The consumer's metrics in; the figures that go into pipeline_metrics, and into its last words, out.

import { version } from "../../package.json";
import type { MonitoringConfig } from "../../shared/config/config.ts";
import type { MetricSample } from "../../shared/store/pipeline-metrics.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import { type CounterName, type GaugeName, METRICS } from "../../shared/telemetry/metrics.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

const SAMPLED = [
  "events_consumed_total",
  "events_processed_total",
  "events_failed_total",
  "duplicate_events_total",
  "late_events_total",
  "db_inserts_total",
  "db_insert_errors_total",
  "resyncs_total",
  "aggregations_created_total",
  "aggregations_flushed_total",
  "kafka_consumer_lag",
  "last_event_processed_unixtime",
] as const satisfies readonly (CounterName | GaugeName)[];

/** One sample for each series worth keeping: counters are totals since this process started. */
export function sampleMetrics(metrics: MetricsRegistry): MetricSample[] {
  return SAMPLED.flatMap((name) => {
    const labelNames: readonly string[] = METRICS[name].labels;
    return metrics.values(name).map(({ labels, value }) => ({
      name,
      value,
      labels: Object.fromEntries(labelNames.map((label, index) => [label, labels[index] ?? ""])),
    }));
  });
}

/** What does not change while the process runs: versions, and the thresholds that alert rules compare with. */
export function setConstantMetrics(
  metrics: MetricsRegistry,
  monitoring: MonitoringConfig,
  librdkafkaVersion: string,
): void {
  metrics.set("pipeline_build_info", 1, version, librdkafkaVersion);
  metrics.set("alert_threshold", monitoring.errorRateThreshold, "error_rate");
  metrics.set("alert_threshold", monitoring.consumerLagThreshold, "consumer_lag");
  metrics.set("alert_threshold", monitoring.processingLatencyThresholdSeconds, "processing_latency");
}

/** What this process did, for its last line. */
export function totals(
  metrics: MetricsRegistry,
): Record<"consumed" | "stored" | "duplicates" | "deadLetters", number> {
  return {
    consumed: metrics.total("events_consumed_total"),
    stored: metrics.total("events_processed_total"),
    duplicates: metrics.total("duplicate_events_total"),
    deadLetters: metrics.total("dead_letter_events_total"),
  };
}

/** Says how far the consumer is, where it has got anywhere since the last time or records wait. */
export class Progress {
  readonly #metrics: MetricsRegistry;
  readonly #log: Logger;
  #consumed = 0;

  constructor(metrics: MetricsRegistry, log: Logger) {
    this.#metrics = metrics;
    this.#log = log;
  }

  say(): void {
    const figures = totals(this.#metrics);
    const lag = this.#metrics.total("kafka_consumer_lag");
    if (figures.consumed === this.#consumed && lag === 0) return;
    this.#consumed = figures.consumed;
    this.#log.info({ ...figures, lag }, "progress");
  }
}
