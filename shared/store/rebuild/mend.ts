// Adds to the hours and their users what they lack, and takes away what they have too much.

import { numberArray, textArray } from "../array-literal.ts";
import { endWorkerSessions } from "../database-owner.ts";
import type { Transaction } from "../session.ts";
import type { DifferingHour, DifferingUser } from "./compare.ts";

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
    select $1::text::timestamptz, event_type, user_id from unnest($2::text[], $3::text[]) as u (event_type, user_id)
    order by event_type collate "C", user_id collate "C"
    on conflict do nothing
    returning event_type
  )
  select event_type, count(*) as users from inserted group by 1`;

const LOCK_HOURS = `
  select 1 from hourly_aggregations
  where aggregation_hour = $1::text::timestamptz and event_type = any($2::text[])
  order by event_type for update`;

// A user that was found without an event may have got one since.
const DELETE_EXTRA = `
  with extra as (
    select * from unnest($2::text[], $3::text[]) as x (event_type, user_id)
  ), found as materialized (
    select distinct event_type, user_id from raw_events
    where "timestamp" >= $1::text::timestamptz and "timestamp" < $1::text::timestamptz + interval '1 hour'
      and user_id = any($3::text[])
  ), deleted as (
    delete from hourly_users u using extra x
    where u.aggregation_hour = $1::text::timestamptz and u.event_type = x.event_type collate "C"
      and u.user_id = x.user_id collate "C"
      and not exists (select from found f where f.event_type = x.event_type collate "C" and f.user_id = x.user_id collate "C")
    returning u.event_type
  )
  select event_type, count(*) as users from deleted group by 1`;

const COUNT_USERS = `
  update hourly_aggregations h set unique_users = h.unique_users + c.users, updated_at = now()
  from unnest($2::text[], $3::bigint[]) as c (event_type, users)
  where h.aggregation_hour = $1::text::timestamptz and h.event_type = c.event_type collate "C"`;

interface UserCount {
  event_type: string;
  users: number;
}

/**
 * Mends rows of hourly_users, of one hour, in one transaction, in the order in which a consumer locks them: users that
 * are missing, then the hours, then the rest.
 *
 * A consumer does not send users again that it knows to be stored. So where rows are deleted, the sessions of all workers
 * are ended while the hours are locked: a batch that left out such a user cannot be stored after that, and the next
 * sessions know no user.
 */
export async function mendUsers(
  tx: Transaction,
  hour: string,
  users: readonly DifferingUser[],
): Promise<void> {
  const types = textArray([...new Set(users.map(({ event_type }) => event_type))]);
  const inserted = await tx.unsafe<UserCount[]>(INSERT_MISSING, usersOf(hour, users, false));
  await tx.unsafe(LOCK_HOURS, [hour, types]);
  const deleted = users.some(({ is_extra }) => is_extra)
    ? await tx.unsafe<UserCount[]>(DELETE_EXTRA, usersOf(hour, users, true))
    : [];
  for (const [changed, sign] of [
    [inserted, 1],
    [deleted, -1],
  ] as const) {
    await tx.unsafe(COUNT_USERS, [
      hour,
      textArray(changed.map(({ event_type }) => event_type)),
      numberArray(changed.map((count) => sign * count.users)),
    ]);
  }
  if (deleted.length > 0) await endWorkerSessions(tx);
}

function usersOf(hour: string, users: readonly DifferingUser[], isExtra: boolean): [string, string, string] {
  const wanted = users.filter(({ is_extra }) => is_extra === isExtra);
  return [
    hour,
    textArray(wanted.map(({ event_type }) => event_type)),
    textArray(wanted.map(({ user_id }) => user_id)),
  ];
}
