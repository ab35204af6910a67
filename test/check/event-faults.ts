// Lists faults in the raw events and in the figures computed from them.
import type { Fault } from "./fault.ts";

const HOUR = "2026-03-14T08:00Z";
const AT_HOUR = `aggregation_hour = '${HOUR}' and event_type = 'page_view'`;
const FLAG = "jsonb_set(event_data, '{is_high_value}', ";
export const RAW_FAULTS: readonly Fault[] = [
  {
    what: "a raw row is lost",
    sql: "delete from raw_events where event_id = 'e3'",
    breaks: ["stored_events_kept", "hours_recomputed"],
  },
  {
    what: "the only raw row of a user is lost",
    sql: "delete from raw_events where event_id = 'e2'",
    breaks: ["stored_events_kept", "hours_recomputed", "hourly_users_recomputed"],
  },
  {
    what: "one raw row too many",
    sql: `insert into raw_events select 'extra', user_id, event_type, event_data, duration_seconds, "timestamp", processed_at
      from raw_events where event_id = 'e1'`,
    breaks: ["stored_events_kept", "hours_recomputed"],
  },
  {
    what: "one raw row too many, in another hour",
    sql: `insert into raw_events select 'extra', user_id, event_type, event_data, duration_seconds, "timestamp" + interval '1 year', processed_at
      from raw_events where event_id = 'e1'`,
    breaks: ["stored_events_kept", "hours_recomputed", "hourly_users_recomputed"],
  },
  {
    what: "a duration is changed",
    sql: "update raw_events set duration_seconds = 1.501 where event_id = 'e1'",
    breaks: ["hours_recomputed"],
  },
  {
    what: "a duration is lost",
    sql: "update raw_events set duration_seconds = null where event_id = 'e8 \"quoted\\\" é\u001b[31m'",
    breaks: ["hours_recomputed"],
  },
  {
    what: "a duration is changed by less than a millisecond",
    sql: "update raw_events set duration_seconds = 1.5001 where event_id = 'e1'",
    breaks: ["durations_in_range"],
  },
  {
    what: "a duration is not a number",
    sql: "update raw_events set duration_seconds = 'NaN' where event_id = 'e1'",
    breaks: ["durations_in_range", "hours_recomputed"],
  },
  {
    what: "a duration is infinite",
    sql: "update raw_events set duration_seconds = 'Infinity' where event_id = 'e1'",
    breaks: ["durations_in_range", "hours_recomputed"],
  },
  {
    what: "a user is changed into an unknown one",
    sql: "update raw_events set user_id = 'nobody' where event_id = 'e2'",
    breaks: ["hourly_users_recomputed"],
  },
  {
    what: "a user is changed into another one of the hour",
    sql: "update raw_events set user_id = 'ann' where event_id = 'e2'",
    breaks: ["hours_recomputed", "hourly_users_recomputed"],
  },
  {
    what: "an event moves into the next hour",
    sql: `update raw_events set "timestamp" = "timestamp" + interval '1 microsecond' where event_id = 'e4'`,
    breaks: ["hours_recomputed", "hourly_users_recomputed"],
  },
  {
    what: "a type is changed",
    sql: "update raw_events set event_type = 'click' where event_id = 'e3'",
    breaks: ["hours_recomputed", "hourly_users_recomputed"],
  },
  {
    what: "is_high_value is removed",
    sql: "update raw_events set event_data = event_data - 'is_high_value' where event_id = 'p1'",
    breaks: ["high_value_flags_recomputed"],
  },
  {
    what: "is_high_value is true below the limit",
    sql: `update raw_events set event_data = ${FLAG} 'true') where event_id = 'p2'`,
    breaks: ["high_value_flags_recomputed"],
  },
  {
    what: "is_high_value is false above the limit",
    sql: `update raw_events set event_data = ${FLAG} 'false') where event_id = 'p5'`,
    breaks: ["high_value_flags_recomputed"],
  },
  {
    what: "is_high_value is text",
    sql: `update raw_events set event_data = ${FLAG} '"true"') where event_id = 'p1'`,
    breaks: ["high_value_flags_recomputed"],
  },
  {
    what: "an amount is changed",
    sql: "update raw_events set event_data = jsonb_set(event_data, '{amount}', '99.99') where event_id = 'p1'",
    breaks: ["high_value_flags_recomputed"],
  },
];

export const HOUR_FAULTS: readonly Fault[] = [
  {
    what: "a closed hour does not count its late event",
    sql: "update hourly_aggregations set late_events = 0 where closed_at is not null",
    breaks: ["closed_hours_final"],
  },
  {
    what: "an hour was closed before its events, which are not all late",
    sql: `update hourly_aggregations set closed_at = '2026-03-14T09:20Z', late_events = late_events - 1 where ${AT_HOUR}`,
    breaks: ["closed_hours_final"],
  },
  {
    what: "an hour was closed before its end",
    sql: `update hourly_aggregations set closed_at = '2026-03-14T08:59:59Z' where ${AT_HOUR}`,
    breaks: ["closed_hours_final"],
  },
  {
    what: "an hour's count is doubled",
    sql: `update hourly_aggregations set total_events = total_events * 2 where ${AT_HOUR}`,
    breaks: ["hours_hold_every_event", "hours_recomputed"],
  },
  {
    what: "an event is counted in another hour",
    sql: `with taken as (update hourly_aggregations set total_events = total_events - 1, late_events = 0 where ${AT_HOUR} returning 1)
      update hourly_aggregations set total_events = total_events + (select count(*) from taken)
      where aggregation_hour = '2026-03-14T09:00Z' and event_type = 'page_view'`,
    breaks: ["hours_recomputed"],
  },
  {
    what: "an hour is missing",
    sql: `delete from hourly_aggregations where ${AT_HOUR}`,
    breaks: ["hours_hold_every_event", "hours_recomputed", "unique_users_counted"],
  },
  {
    what: "one hour too many",
    sql: `insert into hourly_aggregations values ('2020-01-01Z', 'page_view', 5, 1, 0, 0, default, default, 0, 0)`,
    breaks: ["hours_hold_every_event", "hours_recomputed", "unique_users_counted"],
  },
  {
    what: "one empty hour too many",
    sql: `insert into hourly_aggregations values ('2020-01-01Z', 'page_view', 0, 0, 0, 0, default, default, 0, 0)`,
    breaks: ["hours_recomputed"],
  },
  {
    what: "an hour that does not begin with the hour",
    sql: `update hourly_aggregations set aggregation_hour = aggregation_hour + interval '1 second' where ${AT_HOUR}`,
    breaks: ["hours_recomputed", "unique_users_counted"],
  },
  {
    what: "unique_users is wrong",
    sql: `update hourly_aggregations set unique_users = unique_users + 1 where ${AT_HOUR}`,
    breaks: ["hours_recomputed", "unique_users_counted"],
  },
  {
    what: "a sum of durations is wrong by a millisecond",
    sql: `update hourly_aggregations set total_duration_ms = total_duration_ms + 1 where ${AT_HOUR}`,
    breaks: ["hours_recomputed"],
  },
  {
    what: "a count of durations is wrong",
    sql: `update hourly_aggregations set duration_count = duration_count - 1 where ${AT_HOUR}`,
    breaks: ["hours_recomputed"],
  },
  {
    what: "more late events than events",
    sql: `update hourly_aggregations set late_events = total_events + 1 where ${AT_HOUR}`,
    breaks: ["hour_counts_consistent"],
  },
  {
    what: "a negative count",
    sql: `update hourly_aggregations set late_events = -1 where ${AT_HOUR}`,
    breaks: ["hour_counts_consistent"],
  },
  {
    what: "a saved event counts as unsaved",
    sql: `update hourly_aggregations set unsaved_events = 1 where ${AT_HOUR}`,
    breaks: ["stored_events_kept", "hours_recomputed"],
  },
  {
    what: "a user of an hour is missing",
    sql: `delete from hourly_users where ${AT_HOUR} and user_id = 'bea'`,
    breaks: ["hourly_users_recomputed", "unique_users_counted"],
  },
  {
    what: "one user of an hour too many",
    sql: `insert into hourly_users values ('${HOUR}', 'page_view', 'nobody')`,
    breaks: ["hourly_users_recomputed", "unique_users_counted"],
  },
  {
    what: "a user of an hour is replaced",
    sql: `update hourly_users set user_id = 'nobody' where ${AT_HOUR} and user_id = 'bea'`,
    breaks: ["hourly_users_recomputed"],
  },
];

/** Faults in a database that has events without raw rows. */
export const UNSAVED_FAULTS: readonly Fault[] = [
  {
    what: "one unsaved event too many",
    sql: "update hourly_aggregations set total_events = total_events + 1, unsaved_events = unsaved_events + 1 where event_type = 'login'",
    breaks: ["stored_events_kept", "hours_hold_every_event"],
  },
  {
    what: "an hour with unsaved events is wrong",
    sql: `update hourly_aggregations set total_events = total_events + 1 where ${AT_HOUR}`,
    breaks: ["hours_hold_every_event", "hours_recomputed"],
  },
  {
    what: "an hour of unsaved events is missing",
    sql: "delete from hourly_aggregations where event_type = 'login'",
    breaks: [
      "stored_events_kept",
      "hours_hold_every_event",
      "hourly_users_recomputed",
      "unique_users_counted",
    ],
  },
  {
    what: "more unsaved events than events",
    sql: "update hourly_aggregations set unsaved_events = unsaved_events + 1 where event_type = 'login'",
    breaks: ["stored_events_kept", "hour_counts_consistent", "hours_recomputed"],
  },
  {
    what: "a user of an hour with unsaved events is missing",
    sql: `delete from hourly_users where ${AT_HOUR} and user_id = 'bea'`,
    breaks: ["hourly_users_recomputed", "unique_users_counted"],
  },
  {
    what: "a sum of durations is below that of the saved events",
    sql: `update hourly_aggregations set total_duration_ms = 1749 where ${AT_HOUR}`,
    breaks: ["hours_recomputed"],
  },
  {
    what: "a saved row is lost in an hour with unsaved events",
    sql: "delete from raw_events where event_id = 'e3'",
    breaks: ["stored_events_kept", "hours_recomputed"],
  },
];
