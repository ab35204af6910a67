// Samples the metrics that the consumer keeps in the table pipeline_metrics.

import type { MonitoringConfig } from "../../shared/config/config.ts";
import type { MetricSample } from "../../shared/store/pipeline-metrics.ts";
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

/** One sample per series; counters are totals since this process started. */
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

/** Exports the thresholds of ALERT_*, which the alert rules of Prometheus compare with. */
export function setAlertThresholds(metrics: MetricsRegistry, monitoring: MonitoringConfig): void {
  metrics.set("alert_threshold", monitoring.errorRateThreshold, "error_rate");
  metrics.set("alert_threshold", monitoring.consumerLagThreshold, "consumer_lag");
  metrics.set("alert_threshold", monitoring.processingLatencyThresholdSeconds, "processing_latency");
}
