// Proves that the hours and their users equal those recomputed from raw_events.

import type { Transaction } from "../session.ts";
import { type Faults, type Invariant, makeInvariant, MAX_SAMPLES } from "./report.ts";
import { type CheckScope, eventsIn, hoursIn } from "./scope.ts";
import { count } from "../../text/format.ts";

// The distinct users of raw_events are grouped together with the rows of hourly_users, so that a user in only one of
// the two shows without a join; there are many groups, so they carry only their origin. A duration out of range would
// fail the sum and is left out of it. For an hour of which raw rows are missing, because they were never saved or are
// pruned, raw_events has only a part, so its figures are lower bounds. Such a row is counted by its hour or its seal.
const HOUR = `date_bin('1 hour', "timestamp", timestamptz '1970-01-01 00:00:00+00')`;
const compare = (scope: CheckScope): string => `
  with events as (
    select ${HOUR} as aggregation_hour, event_type, count(*) as events, count(duration_seconds) as durations,
      coalesce(sum(case when duration_seconds between 0 and 1e9 then round(duration_seconds * 1000)::bigint end), 0) as duration_ms
    from raw_events
    where ${eventsIn(scope)}
    group by 1, 2
  ), each_user as (
    select aggregation_hour, event_type, user_id, bit_or(origin) as origins
    from (
      select ${HOUR} as aggregation_hour, event_type, user_id, 1 as origin from raw_events
      where ${eventsIn(scope)}
      union all
      select aggregation_hour, event_type, user_id, 2 from hourly_users where ${hoursIn(scope)}
    ) as either
    group by 1, 2, 3
  ), users as (
    select aggregation_hour, event_type,
      count(*) filter (where origins <> 2) as users,
      count(*) filter (where origins <> 1) as listed_users,
      count(*) filter (where origins = 1) as missing_users,
      count(*) filter (where origins = 2) as extra_users
    from each_user
    group by 1, 2
  ), recomputed as (
    select * from users left join events using (aggregation_hour, event_type)
  ), hours as (
    select h.*, coalesce(s.pruned_events, 0) as pruned_events, coalesce(s.pruned_users, 0) as pruned_users
    from hourly_aggregations h left join sealed_hours s using (aggregation_hour, event_type)
    where ${hoursIn(scope)}
  ), compared as materialized (
    select to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as hour, event_type,
      h.total_events is not null as is_stored,
      coalesce(h.total_events, 0) as stored_events, coalesce(h.unsaved_events, 0) as unsaved_events,
      coalesce(h.pruned_events, 0) as pruned_events, coalesce(h.pruned_users, 0) as pruned_users,
      coalesce(h.unsaved_events + h.pruned_events, 0) as without_row,
      coalesce(h.unique_users, 0) as unique_users,
      coalesce(h.total_duration_ms, 0) as stored_duration_ms, coalesce(h.duration_count, 0) as stored_durations,
      round(h.avg_duration_seconds, 6) as stored_average,
      coalesce(r.events, 0) as events, coalesce(r.durations, 0) as durations,
      coalesce(r.duration_ms, 0) as duration_ms,
      round(r.duration_ms / nullif(r.durations, 0) / 1000, 6) as average,
      coalesce(r.users, 0) as users, coalesce(r.listed_users, 0) as listed_users,
      coalesce(r.missing_users, 0) as missing_users, coalesce(r.extra_users, 0) as extra_users
    from recomputed r full join hours h using (aggregation_hour, event_type)
  ), marked as materialized (
    select *,
      (stored_events - without_row <> events)
        or (is_stored and stored_events = 0)
        or (is_stored and without_row = 0 and (unique_users <> users or stored_duration_ms <> duration_ms
          or stored_durations <> durations or stored_average is distinct from average))
        or (without_row > 0 and (unique_users < users or stored_duration_ms < duration_ms
          or stored_durations < durations or stored_durations - durations > without_row))
        as is_wrong,
      (missing_users > 0 and pruned_users = 0) or (extra_users > 0 and without_row = 0) as has_wrong_users,
      unique_users <> listed_users + pruned_users as is_miscounted
    from compared
  ), shown as (
    select hour, event_type, is_stored, stored_events, unsaved_events, pruned_events, pruned_users, without_row, unique_users, stored_durations, events, durations,
      users, listed_users, missing_users, extra_users, is_wrong, has_wrong_users, is_miscounted,
      trim_scale(stored_duration_ms)::text as stored_duration_ms, trim_scale(duration_ms)::text as duration_ms
    from marked
    order by hour, event_type
  )
  select
    count(*) as hours, coalesce(sum(events), 0)::bigint as events, coalesce(sum(users), 0)::bigint as users,
    coalesce(sum(listed_users), 0)::bigint as listed_users,
    count(*) filter (where unsaved_events > 0) as unsaved_hours,
    count(*) filter (where pruned_events > 0) as pruned_hours, coalesce(sum(pruned_users), 0)::bigint as pruned_users,
    count(*) filter (where is_wrong) as wrong,
    count(*) filter (where has_wrong_users) as with_wrong_users,
    count(*) filter (where is_miscounted) as miscounted,
    (select json_agg(s) from (select * from shown where is_wrong limit ${MAX_SAMPLES}) s) as wrong_samples,
    (select json_agg(s) from (select * from shown where has_wrong_users limit ${MAX_SAMPLES}) s) as wrong_user_samples,
    (select json_agg(s) from (select * from shown where is_miscounted limit ${MAX_SAMPLES}) s) as miscounted_samples
  from marked`;

/** An hour and event type, as stored (`stored_…` and the columns' names) and as recomputed. */
interface ComparedHour {
  hour: string;
  event_type: string;
  is_stored: boolean;
  stored_events: number;
  unsaved_events: number;
  /** Rows of raw_events and hourly_users that retention has deleted. */
  pruned_events: number;
  pruned_users: number;
  /** Unsaved and pruned events. */
  without_row: number;
  unique_users: number;
  /** Text: a sum may have more digits than a number holds. */
  stored_duration_ms: string;
  stored_durations: number;
  events: number;
  durations: number;
  duration_ms: string;
  users: number;
  listed_users: number;
  missing_users: number;
  extra_users: number;
}

interface ComparisonRow {
  hours: number;
  events: number;
  users: number;
  listed_users: number;
  unsaved_hours: number;
  pruned_hours: number;
  pruned_users: number;
  wrong: number;
  with_wrong_users: number;
  miscounted: number;
  wrong_samples: ComparedHour[] | null;
  wrong_user_samples: ComparedHour[] | null;
  miscounted_samples: ComparedHour[] | null;
}

/** Compares the hours and their users with raw_events. */
export async function checkHours(tx: Transaction, scope: CheckScope): Promise<Invariant[]> {
  const [row] = await tx.unsafe<[ComparisonRow]>(compare(scope));
  const hours = `${count(row.hours)} hours and types`;
  const partial = [
    [row.unsaved_hours, "have events without raw rows: only their saved events are compared"],
    [row.pruned_hours, "have pruned events: only the others are compared, and all counted"],
  ] as const;
  const notes = partial
    .filter(([rows]) => rows > 0)
    .map(([rows, what]) => ` (${count(rows)} of them ${what})`);
  const pruned = row.pruned_users === 0 ? "" : ` + ${count(row.pruned_users)} pruned`;
  return [
    makeInvariant(
      "hours_recomputed",
      `${hours} recomputed from ${count(row.events)} events${notes.join("")}`,
      faults(row.wrong, row.wrong_samples, explainHour),
    ),
    makeInvariant(
      "hourly_users_recomputed",
      `${count(row.listed_users)} rows of hourly_users${pruned}, ${count(row.users)} distinct users by hour and type in raw_events`,
      faults(row.with_wrong_users, row.wrong_user_samples, explainUsers),
    ),
    makeInvariant(
      "unique_users_counted",
      `${hours}: unique_users is the number of rows in hourly_users${row.pruned_users === 0 ? "" : ", and of those pruned"}`,
      faults(
        row.miscounted,
        row.miscounted_samples,
        (hour) =>
          `${nameOf(hour)}: unique_users ${hour.unique_users}, ${hour.listed_users} rows${hour.pruned_users > 0 ? `, ${hour.pruned_users} pruned` : ""}`,
      ),
    ),
  ];
}

function explainHour(hour: ComparedHour): string {
  const name = nameOf(hour);
  if (!hour.is_stored) return `${name} is missing, but raw_events has ${hour.events} of its events`;
  if (hour.events === 0 && hour.without_row === 0) {
    return `${name} has ${hour.stored_events} events, but raw_events has none`;
  }
  const pairs: [string, number | string, number | string][] = [
    ["events", hour.stored_events - hour.without_row, hour.events],
    ["users", hour.unique_users, hour.users],
    ["durations", hour.stored_durations, hour.durations],
    ["ms", hour.stored_duration_ms, hour.duration_ms],
  ];
  const differing = pairs
    .filter(([, stored, recomputed]) => stored !== recomputed)
    .map(([what, stored, recomputed]) => `${stored} ${what} stored, ${recomputed} recomputed`);
  if (hour.unsaved_events > 0) differing.push(`${hour.unsaved_events} events unsaved`);
  if (hour.pruned_events > 0) differing.push(`${hour.pruned_events} events pruned`);
  return `${name}: ${differing.join(", ")}`;
}

function explainUsers(hour: ComparedHour): string {
  const missing = `${nameOf(hour)}: missing users: ${hour.missing_users}`;
  // Users of unsaved and of pruned events have no row in raw_events.
  return hour.without_row > 0 ? missing : `${missing}, users without an event: ${hour.extra_users}`;
}

export function nameOf({ hour, event_type }: { hour: string; event_type: string }): string {
  return `${hour} ${event_type}`;
}

export function faults<Row>(
  wrong: number,
  rows: readonly Row[] | null,
  explain: (row: Row) => string,
): Faults {
  return { count: wrong, samples: (rows ?? []).map(explain) };
}
