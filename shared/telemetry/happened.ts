// One function for each thing that happens to a worker: it moves the metrics and writes the log line together.

import type { HourDelta } from "../event.ts";
import type { Logger } from "./log.ts";
import type { Recorder } from "./recorder.ts";

/** Why a worker dropped its state and read its offsets again. */
export type ResyncCause =
  | "fence"
  | "connection"
  | "transient"
  | "blocked"
  | "schema"
  | "content"
  | "access"
  | "kafka"
  | "lost"
  | "topic_changed"
  | "delivery";

/** Those that are failed transactions. */
export const DATABASE_CAUSES: ReadonlySet<ResyncCause> = new Set([
  "fence",
  "connection",
  "transient",
  "blocked",
  "schema",
  "content",
  "access",
]);

/** A committed batch in figures; see CommitReport for their meaning. */
export interface CommittedBatch {
  readonly records: number;
  readonly spans: readonly {
    readonly topic: string;
    readonly consumed: number;
    readonly duplicates: number;
    readonly bytes: number;
  }[];
  readonly deadLetters: readonly { readonly topic: string; readonly reason: string }[];
  readonly deltas: readonly HourDelta[];
  readonly createdHours: readonly string[];
  readonly newUsers: number;
  readonly rawRows: number;
  readonly copyFailed: boolean;
  /** Timestamps of the stored events, ms since 1970. */
  readonly storedAtMs: readonly number[];
  /** The database's clock at the commit, ms since 1970. */
  readonly committedAtMs: number;
  readonly processingSeconds: number;
  readonly transformationSeconds: number;
  readonly aggregationSeconds: number;
  readonly transactionSeconds: number;
}

/** What happens to a worker, told to the metrics and the log at once. */
export class WorkerTelemetry {
  readonly #recorder: Recorder;
  readonly #log: Logger;

  constructor(recorder: Recorder, log: Logger) {
    this.#recorder = recorder;
    this.#log = log;
  }

  recordsFetched(topic: string, records: number): void {
    this.#recorder.add("records_fetched_total", records, topic);
  }

  batchCommitted(batch: CommittedBatch): void {
    const recorder = this.#recorder;
    for (const { topic, consumed, duplicates, bytes } of batch.spans) {
      recorder.add("events_consumed_total", consumed, topic);
      recorder.add("duplicate_events_total", duplicates, topic);
      recorder.add("bytes_total", bytes, "in", "consumer", topic);
    }
    for (const { topic, reason } of batch.deadLetters) {
      recorder.add("events_failed_total", 1, reason, topic);
      recorder.add("dead_letter_events_total", 1, reason);
    }
    for (const delta of batch.deltas) {
      recorder.add("events_processed_total", delta.totalEvents, delta.eventType);
      recorder.add("late_events_total", delta.lateEvents);
    }
    for (const eventType of batch.createdHours) recorder.add("aggregations_created_total", 1, eventType);
    if (batch.copyFailed) recorder.add("retries_total", 1, "copy");
    recorder.add("db_inserts_total", batch.rawRows, "raw_events");
    recorder.add("db_inserts_total", batch.deltas.length, "hourly_aggregations");
    recorder.add("db_inserts_total", batch.newUsers, "hourly_users");
    recorder.add("db_inserts_total", batch.deadLetters.length, "dead_letter_events");
    for (const atMs of batch.storedAtMs) {
      recorder.observe("event_age_at_commit_seconds", Math.max(0, batch.committedAtMs - atMs) / 1000);
    }
    recorder.observe("event_processing_duration_seconds", batch.processingSeconds, batch.records);
    recorder.observe("event_transformation_duration_seconds", batch.transformationSeconds);
    recorder.observe("aggregation_duration_seconds", batch.aggregationSeconds);
    recorder.observe("db_insert_duration_seconds", batch.transactionSeconds);
    recorder.observe("db_batch_size", batch.records);
    recorder.set("last_event_processed_unixtime", batch.committedAtMs / 1000);
    if (batch.deadLetters.length > 0) this.#logDeadLetters(batch.deadLetters);
  }

  resynced(cause: ResyncCause, message: string, attempt: number, waitMs: number): void {
    this.#recorder.add("resyncs_total", 1, cause);
    this.#recorder.add("retries_total", 1, cause);
    if (DATABASE_CAUSES.has(cause)) this.#recorder.add("db_insert_errors_total", 1, "raw_events", cause);
    // The first time is news; what repeats is said now and then.
    const isNews = attempt <= 1 || attempt % 10 === 0;
    const level = cause === "lost" || cause === "topic_changed" || cause === "fence" ? "warn" : "error";
    this.#log[isNews ? level : "debug"]({ cause, attempt, waitMs: Math.round(waitMs) }, message);
  }

  flowResumed(pausedMs: number): void {
    this.#log.info({ pausedMs: Math.round(pausedMs) }, "going on");
  }

  paused(seconds: number): void {
    this.#recorder.add("paused_seconds_total", seconds);
  }

  stuckPeersEnded(backends: readonly number[]): void {
    this.#recorder.add("retries_total", backends.length, "stuck_peer");
    this.#log.warn(
      { backends },
      "ended sessions that sat in a transaction while their client was stopped or gone",
    );
  }

  databaseConnected(backendPid: number): void {
    this.#recorder.set("db_connections_active", 1);
    this.#log.debug({ backendPid }, "connected to PostgreSQL");
  }

  databaseLost(): void {
    this.#recorder.set("db_connections_active", 0);
  }

  assigned(partitions: readonly string[], owned: number): void {
    this.#recorder.add("rebalances_total", 1, "assign");
    this.#recorder.set("consumer_assigned_partitions", owned);
    this.#log.info({ partitions, owned }, "partitions assigned");
  }

  revoked(partitions: readonly string[], owned: number, lost: boolean): void {
    this.#recorder.add("rebalances_total", 1, lost ? "lost" : "revoke");
    this.#recorder.set("consumer_assigned_partitions", owned);
    this.#log[lost ? "warn" : "info"]({ partitions, owned }, lost ? "partitions lost" : "partitions revoked");
  }

  gapSkipped(topic: string, partition: number, from: number, to: number): void {
    this.#recorder.add("skipped_offsets_total", to - from, topic);
    this.#log.error(
      { topic, partition, from, to },
      `${to - from} records were deleted by Kafka before they were read (retention); going on at the start of the log`,
    );
  }

  beyondEnd(topic: string, partition: number, stored: number, end: number): void {
    this.#log.error(
      { topic, partition, stored, end },
      "the stored offset lies past the end of the log: Kafka has lost records that are stored here. This partition waits " +
        "until its log has grown past that offset. A topic that is deleted and made anew is read from its beginning; " +
        "do not edit pipeline_offsets, or its account no longer holds",
    );
  }

  lag(topic: string, partition: number, records: number | undefined): void {
    if (records === undefined) this.#recorder.remove("kafka_consumer_lag", topic, String(partition));
    else this.#recorder.set("kafka_consumer_lag", records, topic, String(partition));
  }

  pausedPartitions(partitions: number): void {
    this.#recorder.set("consumer_paused_partitions", partitions);
  }

  kafkaError(name: string, message: string): void {
    this.#recorder.add("kafka_consume_errors_total", 1);
    this.#log.warn({ error: name }, message);
  }

  kafkaLog(level: number, facility: string, message: string): void {
    // syslog levels; librdkafka repeats broker failures as errors, which kafkaError has told already
    this.#log[level <= 3 ? "warn" : "debug"]({ facility }, message);
  }

  offsetCommitFailed(error: string): void {
    // Decides nothing: Kafka's own offsets serve lag tools, and the next commit corrects them.
    this.#log.debug({ error }, "Kafka did not take the offsets");
  }

  #logDeadLetters(letters: CommittedBatch["deadLetters"]): void {
    const reasons: Record<string, number> = {};
    for (const { reason } of letters) reasons[reason] = (reasons[reason] ?? 0) + 1;
    this.#log.warn(
      { deadLetters: letters.length, reasons },
      "records that can never be stored went to the dead letters",
    );
  }
}
