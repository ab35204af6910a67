// Raises the cut-offs of the retention, and seals the hours below them.

import type { Database, Transaction } from "../session.ts";

/** How many days each table keeps; without a number it keeps everything. */
export interface RetentionDays {
  readonly rawEvents?: number | undefined;
  readonly hourlyUsers?: number | undefined;
  readonly deadLetters?: number | undefined;
  readonly pipelineMetrics?: number | undefined;
}

/** Null without a number. */
export function secondsOf(days: number | undefined): number | null {
  return days === undefined ? null : days * 86_400;
}

/** An instant so many days ago, by the database's clock; null without a number. */
export function daysAgo(sql: Database | Transaction, days: number | undefined) {
  return sql`now() - make_interval(secs => ${secondsOf(days)}::float8)`;
}

const RAISE = `
  with wanted as (
    select greatest(raw_events_cutoff, date_bin('1 hour', now() - make_interval(secs => $1::float8), timestamptz '1970-01-01 00:00:00+00')) as raw_events,
      greatest(hourly_users_cutoff, date_bin('1 hour', now() - make_interval(secs => $2::float8), timestamptz '1970-01-01 00:00:00+00')) as hourly_users
    from pipeline_state
  )
  update pipeline_state
  set raw_events_cutoff = raw_events, hourly_users_cutoff = hourly_users, users_epoch = users_epoch + 1, updated_at = now()
  from wanted
  where raw_events_cutoff is distinct from raw_events or hourly_users_cutoff is distinct from hourly_users`;

/**
 * Raises the cut-offs to the last whole hours that are old enough. Below the later one no event is stored any more: a
 * transaction that has read the one before is repeated if it reaches its last statement after this COMMIT. The epoch goes
 * up in the same transaction, before any user is deleted.
 *
 * @returns true where one has risen
 */
export async function raiseCutoffs(
  tx: Transaction,
  { rawEvents, hourlyUsers }: Pick<RetentionDays, "rawEvents" | "hourlyUsers">,
): Promise<boolean> {
  const result = await tx.unsafe(RAISE, [secondsOf(rawEvents), secondsOf(hourlyUsers)]);
  return result.count > 0;
}

const SEAL = `
  with due as (
    select aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count, unsaved_events,
      late_events
    from hourly_aggregations h
    where aggregation_hour < (select retention_cutoff from pipeline_state)
      and not exists (
        select from sealed_hours s where s.aggregation_hour = h.aggregation_hour and s.event_type = h.event_type)
    order by aggregation_hour, event_type
    limit $1
    for update
  )
  insert into sealed_hours (aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count,
    unsaved_events, late_events)
  select * from due
  on conflict do nothing`;

/**
 * Seals hours and types below the cut-off, the oldest first. A worker that has added to one of them, and has not
 * committed yet, is waited for; one that adds to it later repeats its transaction, because it finds the cut-off risen. A
 * type that such a worker has just created in its hour is sealed by the next call.
 *
 * @returns how many; fewer than `limit` where none is left
 */
export async function sealHours(tx: Transaction, limit: number): Promise<number> {
  return (await tx.unsafe(SEAL, [limit])).count;
}
