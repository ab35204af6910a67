// Adds a batch's deltas to the hours and their distinct users, and closes the hours that are due.

import { HOUR_MS } from "../pipeline/aggregate.ts";
import type { HourDelta } from "../event.ts";
import type { Database, Transaction } from "./session.ts";
import { numberArray, textArray } from "./array-literal.ts";

// Users and hours are locked in key order: without it two workers deadlock within seconds. The count of new
// users reads all of new_users, so every user is inserted before the first hour is touched. Whether events are late is
// known only when the row is locked: the hour may have been closed since their batch was opened.
const UPSERT = `
  with candidates as (
    select * from unnest($8::timestamptz[], $9::text[], $10::text[]) as u (aggregation_hour, event_type, user_id)
  ), new_users as (
    insert into hourly_users (aggregation_hour, event_type, user_id)
    select aggregation_hour, event_type, user_id from candidates
    order by aggregation_hour, event_type collate "C", user_id collate "C"
    on conflict do nothing
    returning aggregation_hour, event_type
  ), user_counts as (
    select aggregation_hour, event_type, count(*) as new_users from new_users group by 1, 2
  )
  insert into hourly_aggregations as h
    (aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count, unsaved_events, late_events)
  select d.aggregation_hour, d.event_type, d.total_events, coalesce(c.new_users, 0),
    d.total_duration_ms, d.duration_count, d.unsaved_events, d.late_events
  from unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::numeric[], $5::bigint[], $6::bigint[], $7::bigint[])
    as d (aggregation_hour, event_type, total_events, total_duration_ms, duration_count, unsaved_events, late_events)
    left join user_counts c on c.aggregation_hour = d.aggregation_hour and c.event_type = d.event_type collate "C"
  order by d.aggregation_hour, d.event_type collate "C"
  on conflict (aggregation_hour, event_type) do update set
    total_events = h.total_events + excluded.total_events,
    unique_users = h.unique_users + excluded.unique_users,
    total_duration_ms = h.total_duration_ms + excluded.total_duration_ms,
    duration_count = h.duration_count + excluded.duration_count,
    unsaved_events = h.unsaved_events + excluded.unsaved_events,
    late_events = h.late_events + case when h.closed_at is null then excluded.late_events else excluded.total_events end,
    updated_at = now()
  returning event_type, (xmax = 0) as is_created, (select count(*)::int from new_users) as new_users,
    case when closed_at is not null then (extract(epoch from aggregation_hour) / 3600)::int end as closed_hour`;

/** What a batch's deltas changed in hourly_aggregations and hourly_users. */
export interface AddedToHours {
  /** The event types of the rows that were created, one entry for each row. */
  readonly createdTypes: readonly string[];
  /** Rows inserted into hourly_users; the other candidates already existed. */
  readonly newUsers: number;
  /** Events that were late, or whose hour was closed before they were stored. */
  readonly lateEvents: number;
}

interface HourRow {
  event_type: string;
  is_created: boolean;
  new_users: number;
  /** The hour of a row that is closed, hours since 1970; else null. */
  closed_hour: number | null;
}

function hourText(hour: number): string {
  return new Date(hour * HOUR_MS).toISOString();
}

/**
 * Adds a batch's deltas to the hours. It runs late in the transaction, because every worker locks these rows.
 */
export async function addToHours(tx: Transaction, deltas: readonly HourDelta[]): Promise<AddedToHours> {
  if (deltas.length === 0) return { createdTypes: [], newUsers: 0, lateEvents: 0 };
  const hours: string[] = [];
  const types: string[] = [];
  const users: string[] = [];
  for (const delta of deltas) {
    const hour = hourText(delta.hour);
    for (const user of delta.newUserCandidates) {
      hours.push(hour);
      types.push(delta.eventType);
      users.push(user);
    }
  }
  const rows = await tx.unsafe<HourRow[]>(
    UPSERT,
    [
      `{${deltas.map(({ hour }) => hourText(hour)).join(",")}}`,
      textArray(deltas.map(({ eventType }) => eventType)),
      numberArray(deltas.map(({ totalEvents }) => totalEvents)),
      numberArray(deltas.map(({ totalDurationMs }) => totalDurationMs)),
      numberArray(deltas.map(({ durationCount }) => durationCount)),
      numberArray(deltas.map(({ unsavedEvents }) => unsavedEvents)),
      numberArray(deltas.map(({ lateEvents }) => lateEvents)),
      `{${hours.join(",")}}`,
      textArray(types),
      textArray(users),
    ],
    { prepare: true },
  );
  return {
    createdTypes: rows.filter(({ is_created }) => is_created).map(({ event_type }) => event_type),
    newUsers: rows[0]?.new_users ?? 0,
    lateEvents: countLate(deltas, rows),
  };
}

function countLate(deltas: readonly HourDelta[], rows: readonly HourRow[]): number {
  const closed = new Set<string>();
  for (const { closed_hour, event_type } of rows) {
    if (closed_hour !== null) closed.add(`${closed_hour} ${event_type}`);
  }
  return deltas.reduce(
    (sum, { hour, eventType, totalEvents, lateEvents }) =>
      sum + (closed.has(`${hour} ${eventType}`) ? totalEvents : lateEvents),
    0,
  );
}

/** The most rows that one transaction closes: a worker that needs one of them does not wait long. */
const CLOSED_AT_ONCE = 2000;

/** The key of a row in hourly_aggregations. */
export interface HourKey {
  readonly hour: Date;
  readonly eventType: string;
}

/** What one transaction has closed. */
export interface ClosedHours {
  readonly rows: number;
  /** The last row, where there may be more behind it. */
  readonly last: HourKey | undefined;
}

const BEFORE_ALL: HourKey = { hour: new Date(0), eventType: "" };

/**
 * Closes the hours that ended at least `graceMinutes` ago by the database's clock, the oldest first, up to a few thousand
 * rows. Rows that a worker has locked are left for the next run. closed_at is read when a row is locked, so what was
 * processed later is also stored later.
 *
 * @param after the last row of the call before, when it has not closed all
 */
export async function closeHours(
  sql: Database,
  graceMinutes: number,
  { hour, eventType }: HourKey = BEFORE_ALL,
): Promise<ClosedHours> {
  // Closed rows stay in the index until a vacuum, so each call begins behind those of the call before.
  const [found] = await sql<[(HourKey & { rows: number })?]>`
    with due as (
      select aggregation_hour, event_type from hourly_aggregations
      where closed_at is null
        and (aggregation_hour, event_type) > (${hour}::timestamptz, ${eventType}::text)
        and aggregation_hour <= now() - interval '1 hour' - make_interval(secs => ${graceMinutes * 60}::float8)
      order by aggregation_hour, event_type
      limit ${CLOSED_AT_ONCE}
      for update skip locked
    ), closed as (
      update hourly_aggregations h set closed_at = greatest(now(), clock_timestamp())
      from due
      where h.aggregation_hour = due.aggregation_hour and h.event_type = due.event_type
      returning 1
    )
    select aggregation_hour as hour, event_type as "eventType", (select count(*)::int from closed) as rows
    from due order by aggregation_hour desc, event_type desc limit 1`;
  if (found === undefined) return { rows: 0, last: undefined };
  const { rows, ...last } = found;
  return { rows, last: rows < CLOSED_AT_ONCE ? undefined : last };
}
