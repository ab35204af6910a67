// Executes the statements on the hours: adding a batch's deltas, and closing.

import { HOUR_MS } from "../../../../shared/pipeline/aggregate.ts";
import { numbers, texts, unquoted } from "../array-values.ts";
import { visibleRow } from "../row-table.ts";
import {
  compareTexts,
  inOrder,
  NOTHING,
  type Parameters,
  type Statement,
  type StatementContext,
} from "../statement.ts";
import { type HourRow, type HourUserRow, keyOf } from "../tables.ts";

const TABLE = "hourly_aggregations";

function hourOf(text: string): number {
  return Date.parse(text) / HOUR_MS;
}

/** Inserts the users that an hour does not have yet. @returns how many were new, by the key of their hour */
async function insertUsers(context: StatementContext, parameters: Parameters): Promise<Map<string, number>> {
  const types = texts(parameters[8] as string);
  const users = texts(parameters[9] as string);
  const candidates = unquoted(parameters[7] as string).map(
    (text, index): HourUserRow => ({ hour: hourOf(text), eventType: types[index]!, userId: users[index]! }),
  );
  const newUsers = new Map<string, number>();
  const ordered = context.parts.has("users")
    ? candidates.toSorted(
        (a, b) =>
          a.hour - b.hour || compareTexts(a.eventType, b.eventType) || compareTexts(a.userId, b.userId),
      )
    : candidates;
  for (const user of ordered) {
    const hour = keyOf(user.hour, user.eventType);
    const key = keyOf(user.hour, user.eventType, user.userId);
    if (await context.transaction.insert(context.tables.hourUsers, key, user))
      newUsers.set(hour, (newUsers.get(hour) ?? 0) + 1);
  }
  return newUsers;
}

/** Inserts an hour, or adds to the one that is there. */
async function addHour(
  { transaction, tables }: StatementContext,
  delta: HourRow,
): Promise<{ isCreated: boolean; isClosed: boolean }> {
  const key = keyOf(delta.hour, delta.eventType);
  if (await transaction.insert(tables.hours, key, delta)) return { isCreated: true, isClosed: false };
  const entry = tables.hours.entry(key);
  await transaction.lock(tables.hours, entry);
  const row = visibleRow(entry, transaction)!;
  const isClosed = row.closedAtMs !== undefined;
  transaction.write(tables.hours, entry, {
    ...row,
    totalEvents: row.totalEvents + delta.totalEvents,
    uniqueUsers: row.uniqueUsers + delta.uniqueUsers,
    totalDurationMs: row.totalDurationMs + delta.totalDurationMs,
    durationCount: row.durationCount + delta.durationCount,
    unsavedEvents: row.unsavedEvents + delta.unsavedEvents,
    lateEvents: row.lateEvents + (isClosed ? delta.totalEvents : delta.lateEvents),
  });
  return { isCreated: false, isClosed };
}

export const addToHoursStatement: Statement = {
  name: "add to hours",
  text: `
    with candidates as (
      select * from unnest($8::timestamptz[], $9::text[], $10::text[]) as u (aggregation_hour, event_type, user_id)
    ), new_users as (
      insert into hourly_users (aggregation_hour, event_type, user_id)
      select aggregation_hour, event_type, user_id from candidates
      [[users: order by aggregation_hour, event_type collate "C", user_id collate "C"]]
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
    [[order: order by d.aggregation_hour, d.event_type collate "C"]]
    on conflict (aggregation_hour, event_type) do update set
      total_events = h.total_events + excluded.total_events,
      unique_users = h.unique_users + excluded.unique_users,
      total_duration_ms = h.total_duration_ms + excluded.total_duration_ms,
      duration_count = h.duration_count + excluded.duration_count,
      unsaved_events = h.unsaved_events + excluded.unsaved_events,
      late_events = h.late_events + case when h.closed_at is null then excluded.late_events else excluded.total_events end,
      updated_at = now()
    returning event_type, (xmax = 0) as is_created, (select count(*)::int from new_users) as new_users,
      case when closed_at is not null then (extract(epoch from aggregation_hour) / 3600)::int end as closed_hour`,
  table: TABLE,
  writes: true,
  async run(context, parameters) {
    const newUsers = await insertUsers(context, parameters);
    const types = texts(parameters[1] as string);
    const durations = unquoted(parameters[3] as string);
    const [totals, durationCounts, unsaved, late] = [2, 4, 5, 6].map((at) =>
      numbers(parameters[at] as string),
    ) as [number[], number[], number[], number[]];
    const deltas = unquoted(parameters[0] as string).map((text, index): HourRow => {
      const hour = hourOf(text);
      return {
        hour,
        eventType: types[index]!,
        totalEvents: totals[index]!,
        uniqueUsers: newUsers.get(keyOf(hour, types[index]!)) ?? 0,
        totalDurationMs: BigInt(durations[index]!),
        durationCount: durationCounts[index]!,
        unsavedEvents: unsaved[index]!,
        lateEvents: late[index]!,
        closedAtMs: undefined,
      };
    });
    const allNewUsers = newUsers.values().reduce((sum, count) => sum + count, 0);
    const rows = [];
    const ordered = inOrder(
      context,
      deltas,
      (a, b) => a.hour - b.hour || compareTexts(a.eventType, b.eventType),
    );
    for (const delta of ordered) {
      const { isCreated, isClosed } = await addHour(context, delta);
      rows.push({
        event_type: delta.eventType,
        is_created: isCreated,
        new_users: allNewUsers,
        closed_hour: isClosed ? delta.hour : null,
      });
    }
    return { rows, count: rows.length };
  },
};

export const closeHoursStatement: Statement = {
  name: "close hours",
  text: `
    with due as (
      select aggregation_hour, event_type from hourly_aggregations
      where closed_at is null
        and (aggregation_hour, event_type) > ($1::timestamptz, $2::text)
        and aggregation_hour <= now() - interval '1 hour' - make_interval(secs => $3::float8)
      order by aggregation_hour, event_type
      limit $4
      for update skip locked
    ), closed as (
      update hourly_aggregations h set closed_at = greatest(now(), clock_timestamp())
      from due
      where h.aggregation_hour = due.aggregation_hour and h.event_type = due.event_type
      returning 1
    )
    select aggregation_hour as hour, event_type as "eventType", (select count(*)::int from closed) as rows
    from due order by aggregation_hour desc, event_type desc limit 1`,
  table: TABLE,
  writes: true,
  async run({ transaction, tables, clockMs }, [after, afterType, graceSeconds, limit]) {
    const dueBefore = transaction.startedAtMs - HOUR_MS - Number(graceSeconds) * 1000;
    const isAfter = ({ hour, eventType }: HourRow): boolean => {
      const difference = hour * HOUR_MS - (after as Date).getTime();
      return difference > 0 || (difference === 0 && compareTexts(eventType, String(afterType)) > 0);
    };
    const found = [...tables.hours.entries()]
      .flatMap((entry) => {
        const row = visibleRow(entry, transaction);
        if (row === undefined || row.closedAtMs !== undefined || row.hour * HOUR_MS > dueBefore) return [];
        return isAfter(row) ? [{ entry, row }] : [];
      })
      .toSorted((a, b) => a.row.hour - b.row.hour || compareTexts(a.row.eventType, b.row.eventType));
    let rows = 0;
    let last: HourRow | undefined;
    for (const { entry } of found) {
      if (rows === Number(limit)) break;
      // Asked when it is its turn: what is locked then is left out, what was closed meanwhile too.
      if (entry.owner !== undefined && entry.owner !== transaction) continue;
      await transaction.lock(tables.hours, entry);
      const row = visibleRow(entry, transaction)!;
      if (row.closedAtMs !== undefined) continue;
      transaction.write(tables.hours, entry, { ...row, closedAtMs: clockMs() });
      last = row;
      rows++;
    }
    if (last === undefined) return NOTHING;
    return { rows: [{ hour: new Date(last.hour * HOUR_MS), eventType: last.eventType, rows }], count: 1 };
  },
};
