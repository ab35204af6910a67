import { expect, test } from "bun:test";
import { METRIC_NAMES, METRICS, metricsOf } from "../../shared/telemetry/metrics.ts";

/** The metrics that dashboards, alerts and the README use, with their labels. */
const CONTRACT: Readonly<Record<string, readonly string[]>> = {
  events_produced_total: ["event_type"],
  bytes_total: ["direction", "source", "topic"],
  event_size_bytes: [],
  kafka_produce_errors_total: [],
  events_consumed_total: ["topic"],
  events_processed_total: ["event_type"],
  events_failed_total: ["error_type", "topic"],
  event_processing_duration_seconds: [],
  event_transformation_duration_seconds: [],
  aggregation_duration_seconds: [],
  db_inserts_total: ["table"],
  db_insert_duration_seconds: [],
  db_batch_size: [],
  db_insert_errors_total: ["table", "error_type"],
  db_connections_active: [],
  kafka_consume_errors_total: [],
  kafka_consumer_lag: ["topic", "partition"],
  last_event_processed_unixtime: [],
  aggregations_created_total: ["event_type"],
  aggregations_flushed_total: [],
  dead_letter_events_total: ["reason"],
  alerts_fired_total: ["alert_type", "severity"],
  duplicate_events_total: ["topic"],
  late_events_total: [],
  event_age_at_commit_seconds: [],
  records_fetched_total: ["topic"],
  retries_total: ["kind"],
  rebalances_total: ["kind"],
  resyncs_total: ["cause"],
  paused_seconds_total: [],
  pipeline_build_info: ["version", "librdkafka"],
  alert_threshold: ["alert"],
  deleted_offsets_total: ["topic"],
  log_truncations_total: ["topic"],
  gap_offsets_total: ["topic"],
};

test("every metric of the contract exists with its labels", () => {
  const ours: Record<string, readonly string[]> = {};
  for (const name of METRIC_NAMES) if (name in CONTRACT) ours[name] = METRICS[name].labels;
  expect(ours).toEqual(CONTRACT);
});

test("metric names and buckets follow Prometheus' conventions", () => {
  for (const name of METRIC_NAMES) {
    const metric = METRICS[name];
    expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
    expect(name.endsWith("_total")).toBe(metric.type === "counter");
    expect(metric.help).toMatch(/^[A-Z0-9].*\.$/);
    if (metric.type === "histogram") {
      expect([...metric.buckets].toSorted((a, b) => a - b)).toEqual([...metric.buckets]);
      expect(new Set(metric.buckets).size).toBe(metric.buckets.length);
    }
  }
});

test("each program exports its own metrics, and both export the common ones", () => {
  const producer = metricsOf("producer");
  const consumer = metricsOf("consumer");
  expect(producer).toContain("events_produced_total");
  expect(producer).not.toContain("events_consumed_total");
  expect(consumer).not.toContain("events_produced_total");
  expect(producer.filter((name) => consumer.includes(name)).toSorted()).toEqual([
    "alert_threshold",
    "alerts_fired_total",
    "bytes_total",
    "pipeline_build_info",
  ]);
  expect(new Set([...producer, ...consumer]).size).toBe(METRIC_NAMES.length);
});
