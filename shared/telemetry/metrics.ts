// Declares every metric with its type, help, labels and buckets: the contract with Prometheus, dashboards and alerts.

interface MetricContract {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
}

export interface CounterContract extends MetricContract {
  readonly type: "counter";
}

export interface GaugeContract extends MetricContract {
  readonly type: "gauge";
  /**
   * How the values of several threads are merged. `last`: the thread that set a label set last owns it; `sum`: all
   * threads together; `max`: the greatest value ever set.
   */
  readonly merge: "last" | "sum" | "max";
}

export interface HistogramContract extends MetricContract {
  readonly type: "histogram";
  /** Upper bounds, ascending, without +Inf. */
  readonly buckets: readonly number[];
}

function counter<const Labels extends readonly string[]>(help: string, labels: Labels) {
  return { type: "counter", help, labels } as const satisfies CounterContract;
}

function gauge<const Labels extends readonly string[]>(
  help: string,
  labels: Labels,
  merge: GaugeContract["merge"],
) {
  return { type: "gauge", help, labels, merge } as const satisfies GaugeContract;
}

function histogram<const Labels extends readonly string[]>(
  help: string,
  labels: Labels,
  buckets: readonly number[],
) {
  return { type: "histogram", help, labels, buckets } as const satisfies HistogramContract;
}

/** 0.1 ms to a minute, for the work on one batch and its transaction. */
const BATCH_SECONDS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
/** 5 ms to an hour, for the age of an event when its transaction commits. */
const AGE_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600];
const BATCH_RECORDS = [1, 5, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000];
const RECORD_BYTES = [64, 128, 256, 512, 1024, 2048, 4096, 16_384, 65_536, 262_144, 1_048_576];

/** Updated when the broker has acknowledged a record. */
const PRODUCER_METRICS = {
  events_produced_total: counter("Events acknowledged by Kafka.", ["event_type"]),
  event_size_bytes: histogram("Size of the record values acknowledged by Kafka.", [], RECORD_BYTES),
  kafka_produce_errors_total: counter("Records that Kafka refused or did not acknowledge in time.", []),
} as const;

const CONSUMER_METRICS = {
  // Records. Updated when the COMMIT is answered: consumed = processed + duplicates + failed.
  records_fetched_total: counter("Records received from Kafka, repeated reads included.", ["topic"]),
  events_consumed_total: counter("Records whose effects are committed.", ["topic"]),
  events_processed_total: counter("Events stored.", ["event_type"]),
  events_failed_total: counter("Records that became dead letters.", ["error_type", "topic"]),
  duplicate_events_total: counter("Events whose event_id was already stored.", ["topic"]),
  late_events_total: counter(
    "Events that were stored after their hour was due to close, or closed; their hour counts them.",
    [],
  ),
  dead_letter_events_total: counter("Dead letters stored, by reason.", ["reason"]),
  log_truncations_total: counter("Logs that Kafka has cut below the offset that was stored.", ["topic"]),
  deleted_offsets_total: counter("Offsets that Kafka deleted before they were read.", ["topic"]),
  gap_offsets_total: counter(
    "Offsets that held no record: transaction markers, aborted and compacted records.",
    ["topic"],
  ),
  last_event_processed_unixtime: gauge(
    "Time of the last commit of events, in seconds since 1970.",
    [],
    "max",
  ),

  // Time.
  event_processing_duration_seconds: histogram(
    "From the receipt of a record to the COMMIT with its effects.",
    [],
    BATCH_SECONDS,
  ),
  event_transformation_duration_seconds: histogram(
    "Decoding, validating and enriching the records of one batch.",
    [],
    BATCH_SECONDS,
  ),
  aggregation_duration_seconds: histogram("Aggregating the events of one batch.", [], BATCH_SECONDS),
  event_age_at_commit_seconds: histogram(
    "Age of an event (now minus its timestamp) when its transaction was committed.",
    [],
    AGE_SECONDS,
  ),

  // Hours.
  aggregations_created_total: counter("Rows of hourly_aggregations created.", ["event_type"]),
  aggregations_flushed_total: counter("Rows of hourly_aggregations closed.", []),

  // Database.
  db_inserts_total: counter("Rows written.", ["table"]),
  db_insert_duration_seconds: histogram(
    "One transaction, from BEGIN to the answer of COMMIT.",
    [],
    BATCH_SECONDS,
  ),
  db_batch_size: histogram("Records in one transaction.", [], BATCH_RECORDS),
  db_insert_errors_total: counter("Transactions that failed.", ["table", "error_type"]),
  db_connections_active: gauge("Open connections to PostgreSQL.", [], "sum"),
  retries_total: counter("Retries, by what was retried.", ["kind"]),
  resyncs_total: counter("Resyncs: a worker dropped its state and read its offsets again.", ["cause"]),
  paused_seconds_total: counter("Time that workers spent paused because nothing could be stored.", []),

  // Retention.
  retention_pruned_rows_total: counter("Rows deleted because they were past their retention.", ["table"]),
  retention_behind_seconds: gauge(
    "How much older than its retention the oldest row of a table is; nothing is due at 0.",
    ["table"],
    "last",
  ),
  retention_step_duration_seconds: histogram(
    "One transaction that deletes rows past their retention, or seals hours.",
    [],
    BATCH_SECONDS,
  ),

  // Kafka.
  kafka_consume_errors_total: counter("Errors reported by the Kafka client.", []),
  kafka_consumer_lag: gauge(
    "Records of a partition that are not stored yet.",
    ["topic", "partition"],
    "last",
  ),
  rebalances_total: counter("Assignments and revocations of partitions.", ["kind"]),
  consumer_assigned_partitions: gauge("Partitions assigned to this process.", [], "sum"),
  consumer_unreadable_partitions: gauge(
    "Assigned partitions whose next records the Kafka client cannot read, for lack of a codec or for damage.",
    [],
    "sum",
  ),
  consumer_over_limit_partitions: gauge(
    "Assigned partitions that DEAD_LETTER_LIMIT has stopped, by the most frequent reason of their dead letters.",
    ["reason"],
    "sum",
  ),
  consumer_paused_partitions: gauge("Assigned partitions that are not being fetched.", [], "sum"),
} as const;

const COMMON_METRICS = {
  bytes_total: counter("Bytes of record values transferred.", ["direction", "source", "topic"]),
  alerts_fired_total: counter("Alerts that started.", ["alert_type", "severity"]),
  alert_threshold: gauge("The thresholds of ALERT_*, for alert rules.", ["alert"], "last"),
  pipeline_build_info: gauge("1, labeled with the versions in use.", ["version", "librdkafka"], "last"),
} as const;

/** Every metric, by name. */
export const METRICS = { ...PRODUCER_METRICS, ...CONSUMER_METRICS, ...COMMON_METRICS } as const;

export type MetricName = keyof typeof METRICS;

export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];

/** The program that exports the metrics. */
export type Program = "producer" | "consumer";

/** The metrics that a program exports. */
export function metricsOf(program: Program): readonly MetricName[] {
  const others = program === "producer" ? CONSUMER_METRICS : PRODUCER_METRICS;
  return METRIC_NAMES.filter((name) => !(name in others));
}

type NamesOf<Type extends MetricContract["type"]> = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends Type ? Name : never;
}[MetricName];

export type CounterName = NamesOf<"counter">;
export type GaugeName = NamesOf<"gauge">;
export type HistogramName = NamesOf<"histogram">;

/** One string per label. */
type StringPerLabel<Labels extends readonly string[]> = { [Index in keyof Labels]: string };

/** The label values of a metric, in the order of its labels. */
export type LabelValues<Name extends MetricName> = StringPerLabel<(typeof METRICS)[Name]["labels"]>;

/** The alerts that the programs raise themselves, with their severity; each is exported as 0 from the start. */
export const ALERT_SEVERITIES = {
  high_error_rate: "warning",
  high_consumer_lag: "warning",
  high_processing_latency: "warning",
  db_connection_failure: "critical",
  pipeline_failure: "critical",
} as const;

/** Distinct values of `event_type` that have their own series; further ones count as `other`. */
export const EVENT_TYPE_LIMIT = 100;
export const OTHER_EVENT_TYPES = "other";
