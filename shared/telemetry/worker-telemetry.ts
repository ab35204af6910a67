// Reports what happens to a worker: each method moves the metrics and writes the log line together.

import type { RejectionReason, TopicPartition } from "../event.ts";
import type { Batch } from "../pipeline/batch.ts";
import type { CommitReport } from "../pipeline/commit.ts";
import { REJECTION_REASONS } from "../pipeline/rejection.ts";
import type { Logger } from "./log.ts";
import { RateLimitedLog } from "./rate-limited-log.ts";
import type { BatchRecorder } from "./recorder.ts";

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
  | "delivery"
  /** A check of our own failed. */
  | "invariant";

/** The causes that are failed transactions. */
export const DATABASE_CAUSES: ReadonlySet<ResyncCause> = new Set([
  "fence",
  "connection",
  "transient",
  "blocked",
  "schema",
  "content",
  "access",
]);

/** The metrics and log lines of one worker; repeated warnings are rate-limited. */
export class WorkerTelemetry {
  readonly #recorder: BatchRecorder;
  readonly #log: Logger;
  readonly #rateLimited: RateLimitedLog;

  constructor(recorder: BatchRecorder, log: Logger) {
    this.#recorder = recorder;
    this.#log = log;
    this.#rateLimited = new RateLimitedLog(log);
  }

  /** Writes the repeated warnings that are not due yet; call it before the end. */
  flushLog(): void {
    this.#rateLimited.flush();
  }

  recordsFetched(topic: string, records: number): void {
    this.#recorder.add("records_fetched_total", records, topic);
  }

  batchCommitted(batch: Batch, report: CommitReport): void {
    const recorder = this.#recorder;
    const rejections = batch.rejected.places();
    let records = 0;
    for (const { topic, consumed, gaps, duplicates, bytes } of batch.spans.values()) {
      records += consumed;
      recorder.add("gap_offsets_total", gaps, topic);
      recorder.add("events_consumed_total", consumed, topic);
      recorder.add("duplicate_events_total", duplicates, topic);
      recorder.add("bytes_total", bytes, "in", "consumer", topic);
    }
    for (const { topic, reason } of rejections) {
      recorder.add("events_failed_total", 1, reason, topic);
      recorder.add("dead_letter_events_total", 1, reason);
    }
    for (const { eventType, totalEvents } of report.deltas) {
      recorder.add("events_processed_total", totalEvents, eventType);
    }
    recorder.add("late_events_total", report.lateEvents);
    for (const eventType of report.createdHours) recorder.add("aggregations_created_total", 1, eventType);
    if (report.copyFailed) recorder.add("retries_total", 1, "copy");
    recorder.add("db_inserts_total", report.rawRows, "raw_events");
    recorder.add("db_inserts_total", report.deltas.length, "hourly_aggregations");
    recorder.add("db_inserts_total", report.newUsers, "hourly_users");
    recorder.add("db_inserts_total", rejections.length, "dead_letter_events");
    const { timestampMs } = batch.rows;
    const ageSeconds = (row: number) => Math.max(0, report.committedAtMs - timestampMs[row]!) / 1000;
    recorder.observeEach("event_age_at_commit_seconds", report.stored, ageSeconds);
    const processingSeconds = (performance.now() - batch.openedAtMs) / 1000;
    recorder.observe("event_processing_duration_seconds", processingSeconds, records);
    recorder.observe("event_transformation_duration_seconds", batch.transformationSeconds);
    recorder.observe("aggregation_duration_seconds", report.aggregationSeconds);
    recorder.observe("db_insert_duration_seconds", report.transactionSeconds);
    recorder.observe("db_batch_size", records);
    recorder.set("last_event_processed_unixtime", report.committedAtMs / 1000);
    if (rejections.length > 0) this.#logDeadLetters(rejections);
  }

  resynced(cause: ResyncCause, message: string, attempt: number, waitMs: number): void {
    this.#recorder.add("resyncs_total", 1, cause);
    this.#recorder.add("retries_total", 1, cause);
    if (DATABASE_CAUSES.has(cause)) this.#recorder.add("db_insert_errors_total", 1, "raw_events", cause);
    // Repeated attempts are logged now and then.
    const isDue = attempt <= 1 || attempt % 10 === 0;
    const level = cause === "lost" || cause === "topic_changed" || cause === "fence" ? "warn" : "error";
    this.#log[isDue ? level : "debug"]({ cause, attempt, waitMs: Math.round(waitMs) }, message);
  }

  /** A transaction was not committed in time: the next ones have at most `limit` records. */
  batchesShrunk(records: number, limit: number): void {
    this.#log.warn({ records, limit }, "the next batches are smaller: this one was not committed in time");
  }

  flowResumed(pausedMs: number): void {
    this.#log.info({ pausedMs: Math.round(pausedMs) }, "resumed after a pause");
  }

  paused(seconds: number): void {
    this.#recorder.add("paused_seconds_total", seconds);
  }

  stuckPeersEnded(backends: readonly number[]): void {
    this.#recorder.add("retries_total", backends.length, "stuck_peer");
    this.#log.warn(
      { backends },
      "ended sessions that stayed in a transaction although their client was stopped or gone",
    );
  }

  databaseConnected(backendPid: number): void {
    this.#recorder.set("db_connections_active", 1);
    this.#log.debug({ backendPid }, "connected to PostgreSQL");
  }

  databaseLost(): void {
    this.#recorder.set("db_connections_active", 0);
  }

  /** @param owned the number of partitions that the worker has now */
  assigned(partitions: readonly TopicPartition[], owned: number): void {
    this.#recorder.add("rebalances_total", 1, "assign");
    this.#recorder.set("consumer_assigned_partitions", owned);
    this.#logPartitions("info", partitions, owned, "partitions assigned");
  }

  /** @param owned the number of partitions that the worker keeps */
  revoked(partitions: readonly TopicPartition[], owned: number, lost: boolean): void {
    this.#recorder.add("rebalances_total", 1, lost ? "lost" : "revoke");
    this.#recorder.set("consumer_assigned_partitions", owned);
    if (lost) this.#logPartitions("warn", partitions, owned, "partitions lost");
    else this.#logPartitions("info", partitions, owned, "partitions revoked");
  }

  /** The worker ends, and others get its partitions. */
  leftGroup(partitions: readonly TopicPartition[]): void {
    for (const { topic, partition } of partitions) this.lag(topic, partition, undefined);
    this.#recorder.set("consumer_assigned_partitions", 0);
  }

  gapSkipped(topic: string, partition: number, from: number, to: number): void {
    this.#recorder.add("deleted_offsets_total", to - from, topic);
    this.#log.error(
      { topic, partition, from, to },
      `${to - from} records were deleted by Kafka before they were read (retention); continuing at the start of the log`,
    );
  }

  logCut(topic: string, partition: number, stored: number, at: number): void {
    this.#recorder.add("log_truncations_total", 1, topic);
    this.#log.error(
      { topic, partition, stored, at },
      `Kafka has lost records that are stored here: the log was cut below offset ${stored}. It is read on from offset ` +
        `${at}, where other records may stand now; see LogTruncated in monitoring/RUNBOOK.md`,
    );
  }

  unreadable(topic: string, partition: number, offset: number, reason: string): void {
    this.#log.error(
      { topic, partition, offset },
      `a partition cannot be read: ${reason}. It is tried again until it can be read; the other partitions are not ` +
        "affected. See PartitionUnreadable in monitoring/RUNBOOK.md",
    );
  }

  unreadablePartitions(partitions: number): void {
    this.#recorder.set("consumer_unreadable_partitions", partitions);
  }

  deadLetterLimitExceeded(topic: string, partition: number, offset: number, because: string): void {
    this.#log.error(
      { topic, partition, offset },
      `a partition is stopped: ${because}. Kafka keeps its records; the other partitions are not affected. ` +
        "See DeadLetterLimitExceeded in monitoring/RUNBOOK.md",
    );
  }

  /** @param reasons for each partition that is stopped, the most frequent reason of its dead letters */
  overLimitPartitions(reasons: readonly RejectionReason[]): void {
    for (const reason of REJECTION_REASONS) {
      const partitions = reasons.filter((each) => each === reason).length;
      this.#recorder.set("consumer_over_limit_partitions", partitions, reason);
    }
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
    // An unreachable broker causes several errors a second.
    this.#rateLimited.warn(message, { code: name }, 1, `error ${name}`);
  }

  kafkaLog(level: number, facility: string, message: string): void {
    // syslog levels; a broker's failure (FAIL) is also an error, which kafkaError logs
    if (level <= 3 && facility !== "FAIL")
      this.#rateLimited.warn(message, { facility }, 1, `log ${facility}`);
    else this.#log.debug({ facility }, message);
  }

  offsetCommitFailed(error: string): void {
    // Kafka's own offsets only serve lag tools, and the next commit corrects them.
    this.#log.debug({ error }, "Kafka did not accept the offsets");
  }

  /** Writes a rate-limited line per reason, with the position of the latest record. */
  #logDeadLetters(letters: ReturnType<Batch["rejected"]["places"]>): void {
    const byReason = Map.groupBy(letters, ({ reason }) => reason);
    for (const [reason, ofReason] of byReason) {
      const { topic, partition, offset } = ofReason.at(-1)!;
      const latest = { reason, topic, partition, offset };
      const text = "records that can never be stored became dead letters";
      this.#rateLimited.warn(text, latest, ofReason.length, `dead letter ${reason}`);
    }
  }

  /** Writes a line per topic. A rebalance without a change is logged only if the worker has no partitions at all. */
  #logPartitions(
    level: "info" | "warn",
    changed: readonly TopicPartition[],
    owned: number,
    message: string,
  ): void {
    for (const [topic, partitions] of Map.groupBy(changed, (partition) => partition.topic)) {
      const numbers = partitions.map(({ partition }) => partition).toSorted((a, b) => a - b);
      this.#log[level]({ topic, partitions: numbers, owned }, message);
    }
    if (changed.length === 0) this.#log[owned === 0 ? level : "debug"]({ owned }, `no ${message}`);
  }
}
