// Initializes every counter series whose labels are known up front to 0.

import { REJECTION_REASONS } from "../pipeline/rejection.ts";
import { DATABASE_CAUSES, type ResyncCause } from "./worker-telemetry.ts";
import type { Recorder } from "./recorder.ts";

const RESYNC_CAUSES = keysOf<ResyncCause>({
  fence: 0,
  connection: 0,
  transient: 0,
  blocked: 0,
  schema: 0,
  content: 0,
  access: 0,
  kafka: 0,
  lost: 0,
  topic_changed: 0,
  delivery: 0,
  invariant: 0,
});

/** Retries without a resync. */
const OTHER_RETRIES = ["copy", "stuck_peer"] as const;
const REBALANCES = ["assign", "revoke", "lost"] as const;
const TABLES = ["raw_events", "hourly_aggregations", "hourly_users", "dead_letter_events"] as const;
const PRUNED_TABLES = ["raw_events", "hourly_users", "dead_letter_events", "pipeline_metrics"] as const;

/**
 * Call this before the first scrape. Prometheus sees a counter grow only from its second sample on: if a series
 * appears with its first event, every rate and every alert misses that event.
 */
export function initializeSeries(metrics: Recorder, topics: readonly string[]): void {
  for (const topic of topics) {
    metrics.add("records_fetched_total", 0, topic);
    metrics.add("events_consumed_total", 0, topic);
    metrics.add("duplicate_events_total", 0, topic);
    metrics.add("deleted_offsets_total", 0, topic);
    metrics.add("log_truncations_total", 0, topic);
    metrics.add("gap_offsets_total", 0, topic);
    for (const reason of REJECTION_REASONS) metrics.add("events_failed_total", 0, reason, topic);
  }
  for (const reason of REJECTION_REASONS) metrics.add("dead_letter_events_total", 0, reason);
  for (const table of TABLES) metrics.add("db_inserts_total", 0, table);
  for (const table of PRUNED_TABLES) metrics.add("retention_pruned_rows_total", 0, table);
  for (const cause of RESYNC_CAUSES) {
    metrics.add("resyncs_total", 0, cause);
    metrics.add("retries_total", 0, cause);
  }
  for (const kind of REBALANCES) metrics.add("rebalances_total", 0, kind);
  for (const kind of OTHER_RETRIES) metrics.add("retries_total", 0, kind);
  for (const cause of DATABASE_CAUSES) metrics.add("db_insert_errors_total", 0, "raw_events", cause);
}

function keysOf<Key extends string>(all: Readonly<Record<Key, 0>>): readonly Key[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an object literal has the keys of its type
  return Object.keys(all) as Key[];
}
