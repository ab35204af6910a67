// Reads the overview of a report: rows by table, the newest hours and events, dead letters by reason.

import { FatalError } from "../../runtime/errors.ts";
import type { Transaction } from "../session.ts";
import { textArray } from "../array-literal.ts";
import { type CheckScope, hoursIn } from "./scope.ts";
import type { CheckReport, EventReport, HourReport } from "./report.ts";

/** The tables of the pipeline, in the order of the flow. */
const TABLES = [
  "raw_events",
  "hourly_aggregations",
  "hourly_users",
  "dead_letter_events",
  "pipeline_offsets",
  "pipeline_metrics",
  "sealed_hours",
  "pruned_dead_letters",
] as const;

const NEWEST_HOURS = 20;
const NEWEST_EVENTS = 5;
/** Without raw rows (SAVE_RAW_EVENTS=false) no hour has them. */
const MAX_HOURS_SEARCHED = 1000;

/** @throws FatalError where tables are missing */
export async function assertTables(tx: Transaction): Promise<void> {
  const rows = await tx<{ name: string; database: string }[]>`
    select name, current_database() as database from unnest(${textArray(TABLES)}::text[]) as t (name)
    where to_regclass(name) is null`;
  const [first] = rows;
  if (first === undefined) return;
  const missing = rows.map(({ name }) => name);
  throw new FatalError(
    missing.length === TABLES.length
      ? `database "${first.database}" has no tables of the pipeline; the consumer creates them when it starts`
      : `database "${first.database}" lacks the tables ${missing.join(", ")}; restore the tables or the database`,
  );
}

/** Rows by table. @param rawEvents rows of raw_events, which are counted already */
export async function countRows(
  tx: Transaction,
  rawEvents: number,
  scope: CheckScope,
): Promise<Record<string, number>> {
  const counted: Record<string, number> = { raw_events: rawEvents };
  for (const table of TABLES.slice(1)) {
    const condition = table === "hourly_users" ? hoursIn(scope) : "true";
    const [row] = await tx.unsafe<[{ rows: number }]>(
      `select count(*) as rows from ${table} where ${condition}`,
    );
    counted[table] = row.rows;
  }
  return counted;
}

/** Rows of dead_letter_events by reason, and by what became of them. */
export async function countDeadLetters(
  tx: Transaction,
): Promise<Pick<CheckReport, "dead_letters" | "dead_letter_states">> {
  const countBy = async (column: "reason" | "state"): Promise<Record<string, number>> => {
    const rows = await tx<{ name: string; letters: number }[]>`
      select ${tx(column)} as name, count(*) as letters from dead_letter_events group by 1 order by letters desc, name`;
    return Object.fromEntries(rows.map(({ name, letters }) => [name, letters]));
  };
  return { dead_letters: await countBy("reason"), dead_letter_states: await countBy("state") };
}

type HourRow = Omit<HourReport, "aggregation_hour" | "closed_at"> & {
  aggregation_hour: Date;
  closed_at: Date | null;
};

/** The newest rows of hourly_aggregations, newest first; hours of the future come last. */
export async function newestHours(tx: Transaction): Promise<HourReport[]> {
  const rows = await tx<HourRow[]>`
    with listed as (
      (select * from hourly_aggregations where aggregation_hour <= now()
        order by aggregation_hour desc, event_type limit ${NEWEST_HOURS})
      union all
      (select * from hourly_aggregations where aggregation_hour > now()
        order by aggregation_hour, event_type limit ${NEWEST_HOURS})
    )
    select aggregation_hour, event_type, total_events, unique_users,
      total_duration_seconds::float8 as total_duration_seconds, avg_duration_seconds::float8 as avg_duration_seconds,
      unsaved_events, late_events, closed_at
    from listed
    order by aggregation_hour > now(), aggregation_hour desc, event_type
    limit ${NEWEST_HOURS}`;
  return rows.map((row) => ({
    ...row,
    aggregation_hour: row.aggregation_hour.toISOString(),
    closed_at: row.closed_at?.toISOString() ?? null,
  }));
}

type EventRow = Omit<EventReport, "timestamp" | "processed_at"> & { timestamp: Date; processed_at: Date };

/**
 * The newest rows of raw_events by the events' own timestamps, newest first; events of the future come last. The hours
 * show from when on there are enough of them, so that not all events have to be sorted.
 */
export async function newestEvents(tx: Transaction): Promise<EventReport[]> {
  const [{ since }] = await tx<[{ since: Date | null }]>`
    with newest as (
      select aggregation_hour, event_type, total_events - unsaved_events as events from hourly_aggregations
      where aggregation_hour <= now()
      order by aggregation_hour desc, event_type desc
      limit ${MAX_HOURS_SEARCHED}
    ), counted as (
      select aggregation_hour, sum(events) over (order by aggregation_hour desc, event_type desc) - events as newer
      from newest
    )
    select min(aggregation_hour) as since from counted where newer < ${NEWEST_EVENTS}`;
  const rows = await tx<EventRow[]>`
    select event_id, user_id, event_type, "timestamp", processed_at
    from raw_events
    ${since === null ? tx`` : tx`where "timestamp" >= ${since}`}
    order by "timestamp" > now(), "timestamp" desc, event_id
    limit ${NEWEST_EVENTS}`;
  return rows.map((row) => ({
    ...row,
    timestamp: row.timestamp.toISOString(),
    processed_at: row.processed_at.toISOString(),
  }));
}
