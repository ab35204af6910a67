// Measures how far the retention is behind: how much older than its retention the oldest row is that is still there.

import { REJECTION_REASONS } from "../../pipeline/rejection.ts";
import { textArray } from "../array-literal.ts";
import { LETTER_STATES } from "../dead-letters/selection.ts";
import type { Database } from "../session.ts";
import { type RetentionDays, secondsOf } from "./cutoff.ts";
import type { PrunedTable } from "./pruner.ts";

// Without a number of days a figure is null, as for an empty table. Of hours the end counts, because they go as a whole: an
// hour with rows to delete, or the first one above the cut-off.
const READ = `
  select
    extract(epoch from now() - make_interval(secs => $1::float8) - interval '1 hour' - coalesce(
      (select min(aggregation_hour) from sealed_hours
        where events_pruned_at is null and aggregation_hour < raw_events_cutoff),
      raw_events_cutoff))::float8 as raw_events,
    extract(epoch from now() - make_interval(secs => $2::float8) - interval '1 hour' - coalesce(
      (select min(aggregation_hour) from sealed_hours
        where users_pruned_at is null and aggregation_hour < hourly_users_cutoff),
      hourly_users_cutoff))::float8 as hourly_users,
    extract(epoch from now() - make_interval(secs => $3::float8) - (
      select min(oldest) from unnest($5::text[]) as s (state) cross join unnest($6::text[]) as r (reason)
        cross join lateral (
          select min(first_seen_at) as oldest from dead_letter_events d where d.state = s.state and d.reason = r.reason
        ) l))::float8 as dead_letter_events,
    extract(epoch from now() - make_interval(secs => $4::float8) - (
      select recorded_at from pipeline_metrics order by id limit 1))::float8 as pipeline_metrics
  from pipeline_state`;

/** @returns seconds, 0 where nothing is due, for each table that has a retention */
export async function readBehind(sql: Database, days: RetentionDays): Promise<Map<PrunedTable, number>> {
  const tables: [PrunedTable, number | undefined][] = [
    ["raw_events", days.rawEvents],
    ["hourly_users", days.hourlyUsers],
    ["dead_letter_events", days.deadLetters],
    ["pipeline_metrics", days.pipelineMetrics],
  ];
  const [row] = await sql.unsafe<[Record<PrunedTable, number | null>]>(READ, [
    ...tables.map(([, age]) => secondsOf(age)),
    textArray(LETTER_STATES),
    textArray(REJECTION_REASONS),
  ]);
  return new Map(
    tables.filter(([, age]) => age !== undefined).map(([table]) => [table, Math.max(0, row[table] ?? 0)]),
  );
}
