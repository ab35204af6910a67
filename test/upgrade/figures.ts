// Reads what an upgrade must not change, from the tables of any version.
import type { TestDatabase } from "../support/postgres.ts";

/** What is in the tables, apart from the topic's name and id and what changes while a consumer runs. */
const FIGURES = {
  raw_events: `
    select event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at from raw_events order by 1`,
  // Hours that are over were closed before the dump.
  hours: `
    select aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count,
      total_duration_seconds, avg_duration_seconds, unsaved_events, late_events, created_at,
      case when aggregation_hour < timestamptz '2026-01-02 00:00Z' then closed_at end as closed_at
    from hourly_aggregations order by 1, 2`,
  users: "select aggregation_hour, event_type, user_id from hourly_users order by 1, 2, 3",
  // What was lost had one column at first, and has two.
  offsets: `
    select "partition", first_offset, next_offset, consumed, stored, duplicates, dead_lettered,
      next_offset - first_offset - consumed as lost
    from pipeline_offsets order by 1, 2`,
  dead_letters: `
    select "partition", "offset", md5(key) as key, md5(value) as value, md5(headers) as headers, stage, reason, error,
      first_seen_at, max_future_skew_seconds, coalesce(to_jsonb(d) ->> 'state', 'open') as state
    from dead_letter_events d order by 1, 2`,
  metrics:
    "select id, metric_name, metric_value, labels, recorded_at from pipeline_metrics order by id limit 50",
} as const;

type Rows = readonly Record<string, unknown>[];
export type Figures = Record<keyof typeof FIGURES, Rows>;

export async function readFigures({ sql }: TestDatabase): Promise<Figures> {
  const read = async (what: keyof Figures): Promise<Rows> => [...(await sql.unsafe(FIGURES[what]))];
  return {
    raw_events: await read("raw_events"),
    hours: await read("hours"),
    users: await read("users"),
    offsets: await read("offsets"),
    dead_letters: await read("dead_letters"),
    metrics: await read("metrics"),
  };
}
