// Proves that a closed hour changed only together with its late events.

import type { Transaction } from "../session.ts";
import { type Invariant, makeInvariant, MAX_SAMPLES } from "./report.ts";
import { type CheckScope, eventsIn, hoursIn } from "./scope.ts";
import { count } from "../../text/format.ts";

// Only a lower bound of late_events can be proven. A batch may have been opened before the hour was closed and stored
// after it, so an event can be late although its processed_at is earlier than closed_at. How long hours stay open
// before they are due is a setting, which may have changed.
const compare = (scope: CheckScope): string => `
  with after_closing as (
    select h.aggregation_hour, h.event_type, count(*) as events
    from raw_events e join hourly_aggregations h
      on h.aggregation_hour = date_bin('1 hour', e."timestamp", timestamptz '1970-01-01 00:00:00+00')
        and h.event_type = e.event_type and e.processed_at > h.closed_at
    where ${eventsIn(scope)}
    group by h.aggregation_hour, h.event_type
  ), compared as (
    select aggregation_hour, event_type, late_events, coalesce(a.events, 0) as events,
      closed_at < aggregation_hour + interval '1 hour' as is_early
    from hourly_aggregations left join after_closing a using (aggregation_hour, event_type)
    where closed_at is not null and ${hoursIn(scope)}
  )
  select count(*) as hours, coalesce(sum(late_events), 0)::bigint as late_events, coalesce(sum(events), 0)::bigint as events,
    count(*) filter (where is_early or events > late_events) as wrong,
    (select json_agg(s) from (
      select to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as hour, event_type, late_events,
        events, is_early
      from compared where is_early or events > late_events order by aggregation_hour, event_type limit ${MAX_SAMPLES}) s) as samples
  from compared`;

interface ClosedHour {
  hour: string;
  event_type: string;
  late_events: number;
  /** Rows of raw_events that were processed after the hour was closed. */
  events: number;
  /** True where it was closed before its end. */
  is_early: boolean;
}

interface ComparisonRow {
  hours: number;
  late_events: number;
  events: number;
  wrong: number;
  samples: ClosedHour[] | null;
}

/** Compares the late events of closed hours with the raw events that were processed after the closing. */
export async function checkClosedHours(tx: Transaction, scope: CheckScope): Promise<Invariant> {
  const [row] = await tx.unsafe<[ComparisonRow]>(compare(scope));
  return makeInvariant(
    "closed_hours_final",
    `${count(row.hours)} closed hours and types: ${count(row.events)} events processed after the closing, ${count(row.late_events)} counted as late`,
    { count: row.wrong, samples: (row.samples ?? []).map(explain) },
  );
}

function explain({ hour, event_type, late_events, events, is_early }: ClosedHour): string {
  if (is_early) return `${hour} ${event_type} was closed before its end`;
  return `${hour} ${event_type}: ${events} events processed after the closing, ${late_events} counted as late`;
}
