// Compares the hours of a slice with raw_events, and finds what each lacks.

import type { Transaction } from "../session.ts";
import type { HourRange } from "./slices.ts";

/** What raw_events can prove about the hours. */
export interface Evidence {
  /** False: every stored event has its raw row, so no hour can have unsaved events. */
  readonly hasUnsaved: boolean;
  /** False: raw rows are gone, and an hour that counts more than raw_events has may be right. */
  readonly mayLower: boolean;
  /** How long after its end an hour stays open. */
  readonly hourGraceSeconds: number;
}

/** The figures of an hour and event type. The sum is text: it may have more digits than a number holds. */
export interface HourFigures {
  readonly events: number;
  readonly users: number;
  readonly durations: number;
  readonly duration_ms: string;
  readonly unsaved: number;
  readonly late: number;
}

/** An hour and event type that differs from raw_events. */
export interface DifferingHour {
  /** ISO 8601, UTC. */
  readonly hour: string;
  readonly event_type: string;
  /** Null where hourly_aggregations has no such row. */
  readonly stored: HourFigures | null;
  readonly recomputed: HourFigures;
  /** Users that have an event there and no row in hourly_users. */
  readonly missing_users: number;
  /** Rows of hourly_users to be deleted, because their user has no event there. */
  readonly extra_users: number;
  /** To be added to `unique_users` so that it is the number of rows in hourly_users. */
  readonly miscounted_users: number;
  /** It was closed before its end. */
  readonly is_early: boolean;
  /** It counts more than raw_events has, and keeps that: its raw rows may be gone. */
  readonly is_kept: boolean;
}

/** True where something of it can be mended; else it differs only in what it keeps. */
export function isMendable(hour: DifferingHour): boolean {
  const { stored, recomputed, missing_users, extra_users, miscounted_users, is_early } = hour;
  const hasWrongUsers = missing_users > 0 || extra_users > 0 || miscounted_users !== 0;
  // Without events there is nothing to store, and a stored row is to be deleted.
  if (stored === null) return recomputed.events > 0 || hasWrongUsers;
  const { users: _, ...figures } = stored;
  const { users: __, ...wanted } = recomputed;
  return (
    is_early || hasWrongUsers || !Bun.deepEquals(figures, wanted) || (wanted.events === 0 && !hour.is_kept)
  );
}

/** Of `hour`, for to_char. */
export const HOUR_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS"Z"';

const HOUR = `date_bin('1 hour', "timestamp", timestamptz '1970-01-01 00:00:00+00')`;

const EVENTS = `"timestamp" >= $1::text::timestamptz and "timestamp" < $2::text::timestamptz`;
const HOURS = `aggregation_hour >= $1::text::timestamptz and aggregation_hour < $2::text::timestamptz`;

// Each user of raw_events and each row of hourly_users once, with where it was found: 1, 2, or both as 3.
//
// One statement sees one snapshot, and a batch commits its raw events and what they add to the hours together: what
// differs here is wrong, however many events flow.
//
// Of an hour with unsaved events raw_events has a part, so its figures are lower bounds. How many of an hour's events
// were late cannot be recomputed, because how long hours stay open is a setting: late_events is only brought between
// the events that were processed after the closing and all.
const COMPARE = `
  with each_user as (
    select ${HOUR} as aggregation_hour, e.event_type, user_id, 1 as origin, count(*) as events,
      count(duration_seconds) as durations,
      sum(case when duration_seconds between 0 and 1e9 then round(duration_seconds * 1000)::bigint end) as duration_ms,
      count(*) filter (where processed_at > h.closed_at) as after_closing,
      count(*) filter (where processed_at >= ${HOUR} + interval '1 hour' + make_interval(secs => $5::float8)) as late
    from raw_events e
      left join hourly_aggregations h on h.aggregation_hour = ${HOUR} and h.event_type = e.event_type
    where ${EVENTS}
    group by 1, 2, 3
    union all
    select aggregation_hour, event_type, user_id, 2, 0, 0, null, 0, 0 from hourly_users where ${HOURS}
  ), users as (
    select aggregation_hour, event_type, user_id, bit_or(origin) as origins, sum(events) as events,
      sum(durations) as durations, sum(duration_ms) as duration_ms, sum(after_closing) as after_closing, sum(late) as late
    from each_user
    group by 1, 2, 3
  ), recomputed as (
    select aggregation_hour, event_type, sum(events)::bigint as events, sum(durations)::bigint as durations,
      coalesce(sum(duration_ms), 0) as duration_ms, sum(after_closing)::bigint as after_closing, sum(late)::bigint as late,
      count(*) filter (where origins <> 2) as users,
      count(*) filter (where origins <> 1) as listed,
      count(*) filter (where origins = 1) as missing,
      count(*) filter (where origins = 2) as extra
    from users
    group by 1, 2
  ), hours as (
    select *, case when $3::bool or not $4::bool then unsaved_events else 0 end as unsaved
    from hourly_aggregations
    where ${HOURS}
  ), compared as (
    select aggregation_hour, event_type, h.total_events is not null as is_stored,
      coalesce(h.total_events, 0) as s_events, coalesce(h.unique_users, 0) as s_users,
      coalesce(h.duration_count, 0) as s_durations, coalesce(h.total_duration_ms, 0) as s_duration_ms,
      coalesce(h.unsaved_events, 0) as s_unsaved, coalesce(h.late_events, 0) as s_late,
      coalesce(h.closed_at < aggregation_hour + interval '1 hour', false) as is_early,
      coalesce(h.unsaved, 0) as unsaved, coalesce(r.events, 0) + coalesce(h.unsaved, 0) as events,
      coalesce(r.durations, 0) as durations, coalesce(r.duration_ms, 0) as duration_ms,
      case when h.total_events is null then coalesce(r.late, 0)
        else least(greatest(h.late_events, coalesce(r.after_closing, 0)), coalesce(r.events, 0) + h.unsaved) end as late,
      coalesce(r.users, 0) as users, coalesce(r.listed, 0) as listed, coalesce(r.missing, 0) as missing,
      coalesce(r.extra, 0) as extra
    from hours h full join recomputed r using (aggregation_hour, event_type)
  ), partial as (
    select *, not $4::bool and (events < s_events or users < s_users or durations < s_durations
        or duration_ms < s_duration_ms or extra > 0) as is_kept,
      case when unsaved = 0 then durations else least(greatest(durations, s_durations), durations + unsaved) end as p_durations,
      case when unsaved = 0 then duration_ms else greatest(duration_ms, s_duration_ms) end as p_duration_ms,
      case when unsaved = 0 and $4::bool then extra else 0 end as removed
    from compared
  ), wanted as (
    select *,
      case when $4::bool then events else greatest(events, s_events) end as w_events,
      case when $4::bool then p_durations else greatest(p_durations, s_durations) end as w_durations,
      case when $4::bool then p_duration_ms else greatest(p_duration_ms, s_duration_ms) end as w_duration_ms,
      case when $4::bool then late else greatest(late, s_late) end as w_late,
      case when not is_stored and events = 0 then 0 when $4::bool then listed - s_users
        else greatest(listed - s_users, 0) end as miscounted
    from partial
  )
  select to_char(aggregation_hour at time zone 'UTC', '${HOUR_FORMAT}') as hour, event_type,
    case when is_stored then json_build_object('events', s_events, 'users', s_users, 'durations', s_durations,
      'duration_ms', trim_scale(s_duration_ms)::text, 'unsaved', s_unsaved, 'late', s_late) end as stored,
    json_build_object('events', w_events, 'users', greatest(s_users + miscounted + missing - removed, 0), 'durations', w_durations,
      'duration_ms', trim_scale(w_duration_ms)::text, 'unsaved', unsaved, 'late', w_late) as recomputed,
    missing as missing_users, removed as extra_users, miscounted as miscounted_users, is_early, is_kept
  from wanted
  where w_events <> s_events or w_durations <> s_durations or w_duration_ms <> s_duration_ms or unsaved <> s_unsaved
    or w_late <> s_late or miscounted <> 0 or missing > 0 or removed > 0 or is_early or is_kept
    or (is_stored and w_events = 0)
  order by aggregation_hour, event_type`;

/** The hours of a slice that differ from raw_events, in key order. */
export async function compareHours(
  tx: Transaction,
  range: HourRange,
  { hasUnsaved, mayLower, hourGraceSeconds }: Evidence,
): Promise<DifferingHour[]> {
  return await tx.unsafe<DifferingHour[]>(COMPARE, [
    range.from,
    range.to,
    hasUnsaved,
    mayLower,
    hourGraceSeconds,
  ]);
}

/** A user in only one of raw_events and hourly_users. */
export interface DifferingUser {
  readonly hour: string;
  readonly event_type: string;
  readonly user_id: string;
  /** True where hourly_users has it and raw_events does not. */
  readonly is_extra: boolean;
}

/** The users of a slice that differ, some thousands at a time, in key order. */
export function compareUsers(
  tx: Transaction,
  range: HourRange,
  usersAtOnce: number,
): AsyncIterable<DifferingUser[]> {
  return tx
    .unsafe<DifferingUser[]>(
      `select to_char(aggregation_hour at time zone 'UTC', '${HOUR_FORMAT}') as hour, event_type, user_id,
         bit_or(origin) = 2 as is_extra
       from (
         select ${HOUR} as aggregation_hour, event_type, user_id, 1 as origin from raw_events where ${EVENTS}
         union all
         select aggregation_hour, event_type, user_id, 2 from hourly_users where ${HOURS}
       ) as either
       group by aggregation_hour, event_type, user_id
       having bit_or(origin) <> 3
       order by aggregation_hour, event_type, user_id`,
      [range.from, range.to],
    )
    .cursor(usersAtOnce);
}
