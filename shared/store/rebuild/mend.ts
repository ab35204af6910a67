// Adds to the hours and their users what they lack, and takes away what they have too much.

import { numberArray, textArray } from "../array-literal.ts";
import { endWorkerSessions } from "../database-owner.ts";
import type { Transaction } from "../session.ts";
import { type DifferingHour, type DifferingUser, HOUR_FORMAT } from "./compare.ts";

// The difference is added, never the recomputed figure set: what consumers have added since the comparison stays. In key
// order, as every consumer locks these rows.
const ADD_DIFFERENCES = `
  insert into hourly_aggregations as h (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
    duration_count, unsaved_events, late_events)
  select * from unnest($1::timestamptz[], $2::text[], $3::bigint[], $4::bigint[], $5::numeric[], $6::bigint[], $7::bigint[],
    $8::bigint[]) as d (aggregation_hour, event_type)
  order by aggregation_hour, event_type collate "C"
  on conflict (aggregation_hour, event_type) do update set
    total_events = h.total_events + excluded.total_events,
    unique_users = h.unique_users + excluded.unique_users,
    total_duration_ms = h.total_duration_ms + excluded.total_duration_ms,
    duration_count = h.duration_count + excluded.duration_count,
    unsaved_events = h.unsaved_events + excluded.unsaved_events,
    late_events = h.late_events + excluded.late_events,
    closed_at = case when h.closed_at < h.aggregation_hour + interval '1 hour' then null else h.closed_at end,
    updated_at = now()`;

// Their locks are held already.
const DELETE_EMPTY = `
  delete from hourly_aggregations h
  using unnest($1::timestamptz[], $2::text[]) as d (aggregation_hour, event_type)
  where h.aggregation_hour = d.aggregation_hour and h.event_type = d.event_type and h.total_events = 0`;

/** Mends rows of hourly_aggregations, in one transaction. The rows of hourly_users are mended after them. */
export async function mendHours(tx: Transaction, hours: readonly DifferingHour[]): Promise<void> {
  // Without a row and without events only users are wrong.
  const mended = hours.filter(({ stored, recomputed }) => stored !== null || recomputed.events > 0);
  const differences = (figure: "events" | "durations" | "unsaved" | "late"): string =>
    numberArray(mended.map(({ stored, recomputed }) => recomputed[figure] - (stored?.[figure] ?? 0)));
  const [{ sums }] = await tx.unsafe<[{ sums: string }]>(
    `select array_agg(recomputed - stored order by at)::text as sums
     from unnest($1::numeric[], $2::numeric[]) with ordinality as s (recomputed, stored, at)`,
    [
      textArray(mended.map(({ recomputed }) => recomputed.duration_ms)),
      textArray(mended.map(({ stored }) => stored?.duration_ms ?? "0")),
    ],
  );
  await tx.unsafe(ADD_DIFFERENCES, [
    ...keysOf(mended),
    differences("events"),
    numberArray(mended.map(({ miscounted_users }) => miscounted_users)),
    sums ?? "{}",
    differences("durations"),
    differences("unsaved"),
    differences("late"),
  ]);
  await tx.unsafe(DELETE_EMPTY, keysOf(mended.filter(({ recomputed }) => recomputed.events === 0)));
}

function keysOf(hours: readonly Pick<DifferingHour, "hour" | "event_type">[]): [string, string] {
  return [
    `{${hours.map(({ hour }) => hour).join(",")}}`,
    textArray(hours.map(({ event_type }) => event_type)),
  ];
}

const INSERT_MISSING = `
  with inserted as (
    insert into hourly_users (aggregation_hour, event_type, user_id)
    select * from unnest($1::timestamptz[], $2::text[], $3::text[]) as u (aggregation_hour, event_type, user_id)
    order by aggregation_hour, event_type collate "C", user_id collate "C"
    on conflict do nothing
    returning aggregation_hour, event_type
  )
  select to_char(aggregation_hour at time zone 'UTC', '${HOUR_FORMAT}') as hour, event_type, count(*) as users
  from inserted group by aggregation_hour, event_type`;

const LOCK_HOURS = `
  select 1 from hourly_aggregations
  where (aggregation_hour, event_type) in (select * from unnest($1::timestamptz[], $2::text[]))
  order by aggregation_hour, event_type for update`;

// A user that was found without an event may have got one since: raw_events is read again, from the first of these hours
// to the last.
const DELETE_EXTRA = `
  with extra as materialized (
    select * from unnest($1::timestamptz[], $2::text[], $3::text[]) as x (aggregation_hour, event_type, user_id)
  ), found as materialized (
    select distinct date_bin('1 hour', "timestamp", timestamptz '1970-01-01 00:00:00+00') as aggregation_hour,
      event_type, user_id
    from raw_events
    where "timestamp" >= (select min(aggregation_hour) from extra)
      and "timestamp" < (select max(aggregation_hour) from extra) + interval '1 hour'
      and user_id = any($3::text[])
  ), deleted as (
    delete from hourly_users u using (
      select aggregation_hour, event_type collate "C", user_id collate "C" from extra
      except select aggregation_hour, event_type, user_id from found
    ) as x (aggregation_hour, event_type, user_id)
    where u.aggregation_hour = x.aggregation_hour and u.event_type = x.event_type and u.user_id = x.user_id
    returning u.aggregation_hour, u.event_type
  )
  select to_char(aggregation_hour at time zone 'UTC', '${HOUR_FORMAT}') as hour, event_type, -count(*) as users
  from deleted group by aggregation_hour, event_type`;

const COUNT_USERS = `
  update hourly_aggregations h set unique_users = h.unique_users + c.users, updated_at = now()
  from unnest($1::timestamptz[], $2::text[], $3::bigint[]) as c (aggregation_hour, event_type, users)
  where h.aggregation_hour = c.aggregation_hour and h.event_type = c.event_type collate "C"`;

interface UserCount {
  hour: string;
  event_type: string;
  /** Negative for deleted rows. */
  users: number;
}

/**
 * Mends rows of hourly_users in one transaction, in the order in which a consumer locks them: users that are missing,
 * then the hours, then the rest.
 *
 * A consumer does not send users again that it knows to be stored. So where rows are deleted, the sessions of all workers
 * are ended while the hours are locked: a batch that left out such a user cannot be stored after that, and the next
 * sessions know no user.
 */
export async function mendUsers(tx: Transaction, users: readonly DifferingUser[]): Promise<void> {
  const inserted = await tx.unsafe<UserCount[]>(INSERT_MISSING, usersOf(users, false));
  await tx.unsafe(LOCK_HOURS, keysOf(users));
  const deleted = users.some(({ is_extra }) => is_extra)
    ? await tx.unsafe<UserCount[]>(DELETE_EXTRA, usersOf(users, true))
    : [];
  for (const changed of [inserted, deleted]) {
    await tx.unsafe(COUNT_USERS, [...keysOf(changed), numberArray(changed.map((count) => count.users))]);
  }
  if (deleted.length > 0) await endWorkerSessions(tx);
}

function usersOf(users: readonly DifferingUser[], isExtra: boolean): [string, string, string] {
  const wanted = users.filter(({ is_extra }) => is_extra === isExtra);
  return [...keysOf(wanted), textArray(wanted.map(({ user_id }) => user_id))];
}
