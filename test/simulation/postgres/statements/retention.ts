// Executes the statements of the retention: raising the cut-off, sealing hours, and pruning.

import { HOUR_MS } from "../../../../shared/pipeline/aggregate.ts";
import { touched } from "../offset-rows.ts";
import { DELETED, type RowTable, visibleRow } from "../row-table.ts";
import { compareTexts, type Statement, type StatementContext } from "../statement.ts";
import { keyOf, STATE_KEY } from "../tables.ts";
import { visibleState } from "./pipeline-state.ts";

export const raiseCutoffsStatement: Statement = {
  name: "raise cut-offs",
  text: `
    with wanted as (
      select greatest(raw_events_cutoff, date_bin('1 hour', now() - make_interval(secs => $1::float8), timestamptz '1970-01-01 00:00:00+00')) as raw_events,
        greatest(hourly_users_cutoff, date_bin('1 hour', now() - make_interval(secs => $2::float8), timestamptz '1970-01-01 00:00:00+00')) as hourly_users
      from pipeline_state
    )
    update pipeline_state
    set raw_events_cutoff = raw_events, hourly_users_cutoff = hourly_users, users_epoch = users_epoch + 1, updated_at = now()
    from wanted
    where raw_events_cutoff is distinct from raw_events or hourly_users_cutoff is distinct from hourly_users`,
  table: "pipeline_state",
  writes: true,
  // Both cut-offs are one here: a history gives them the same age.
  async run(context, [seconds]) {
    const { transaction, tables } = context;
    const hourMs = Math.floor((transaction.startedAtMs - Number(seconds) * 1000) / HOUR_MS) * HOUR_MS;
    const isHigher = (): boolean => hourMs > (visibleState(context).cutoffMs ?? -Infinity);
    if (!isHigher()) return touched(0);
    const entry = tables.state.entry(STATE_KEY);
    await transaction.lock(tables.state, entry);
    if (!isHigher()) return touched(0);
    const state = visibleState(context);
    transaction.write(tables.state, entry, {
      ...state,
      cutoffMs: hourMs,
      usersEpoch: state.usersEpoch + 1,
    });
    return touched(1);
  },
};

export const sealHoursStatement: Statement = {
  name: "seal hours",
  text: `
    with due as (
      select aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count, unsaved_events,
        late_events
      from hourly_aggregations h
      where aggregation_hour < (select retention_cutoff from pipeline_state)
        and not exists (
          select from sealed_hours s where s.aggregation_hour = h.aggregation_hour and s.event_type = h.event_type)
      order by aggregation_hour, event_type
      limit $1
      [[lock: for update]]
    )
    insert into sealed_hours (aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count,
      unsaved_events, late_events)
    select * from due
    on conflict do nothing`,
  table: "hourly_aggregations",
  writes: true,
  async run(context, [limit]) {
    const { transaction, tables, parts } = context;
    const cutoff = (visibleState(context).cutoffMs ?? -Infinity) / HOUR_MS;
    const due = [...tables.hours.entries()]
      .flatMap((entry) => {
        const row = visibleRow(entry, transaction);
        if (row === undefined || row.hour >= cutoff) return [];
        const seal = tables.sealedHours.get(keyOf(row.hour, row.eventType));
        return seal === undefined || visibleRow(seal, transaction) === undefined ? [{ entry, row }] : [];
      })
      .toSorted((a, b) => a.row.hour - b.row.hour || compareTexts(a.row.eventType, b.row.eventType))
      .slice(0, Number(limit));
    let count = 0;
    for (const { entry, row } of due) {
      if (parts.has("lock")) await transaction.lock(tables.hours, entry);
      const { closedAtMs: _, ...figures } = parts.has("lock") ? visibleRow(entry, transaction)! : row;
      if (await transaction.insert(tables.sealedHours, keyOf(row.hour, row.eventType), figures)) count++;
    }
    return touched(count);
  },
};

/** Stands for all steps of pruning, which find their rows by pages that the model does not have. */
export const PRUNE_EVERYTHING = "prune the events and users of sealed hours";

export const pruneStatement: Statement = {
  name: "prune",
  text: PRUNE_EVERYTHING,
  table: "raw_events",
  writes: true,
  async run(context) {
    const { rawEvents, hourUsers } = context.tables;
    const events = await pruneTable(context, rawEvents, ({ timestamp, eventType }) =>
      keyOf(Math.floor(Date.parse(timestamp) / HOUR_MS), eventType),
    );
    const users = await pruneTable(context, hourUsers, ({ hour, eventType }) => keyOf(hour, eventType));
    return touched(events + users);
  },
};

/** @param hourKey of the hour that a row belongs to */
async function pruneTable<Row extends object>(
  { transaction, tables }: StatementContext,
  table: RowTable<Row>,
  hourKey: (row: Row) => string,
): Promise<number> {
  let count = 0;
  for (const entry of table.entries()) {
    const row = visibleRow(entry, transaction);
    if (row === undefined || tables.sealedHours.row(hourKey(row)) === undefined) continue;
    await transaction.lock(table, entry);
    if (visibleRow(entry, transaction) === undefined) continue;
    transaction.write(table, entry, DELETED);
    count++;
  }
  return count;
}
