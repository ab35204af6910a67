// Proves that the stored hours hold as many events as were stored, with consistent counts.

import type { Transaction } from "../session.ts";
import { faults, nameOf } from "./hours.ts";
import { type Invariant, makeInvariant, MAX_SAMPLES } from "./report.ts";
import { type CheckScope, hoursIn } from "./scope.ts";
import { count } from "../../text/format.ts";

/** What the hours count, as far as it is in the scope of the check, and before it. */
export interface HourSums {
  unsaved_events: number;
  pruned_events: number;
  /** Events of hours before the scope. */
  earlier_events: number;
}

interface HourCounts extends HourSums {
  hours: number;
  total_events: number;
  inconsistent: number;
  samples: { hour: string; event_type: string; counts: string }[] | null;
}

const countHours = (scope: CheckScope): string => `
  with hours as (
    select *, least(total_events, unique_users, total_duration_ms, duration_count, unsaved_events, late_events) < 0
      or greatest(unique_users, duration_count, unsaved_events, late_events) > total_events as is_wrong
    from hourly_aggregations
  )
  select count(*) as hours, coalesce(sum(total_events), 0)::bigint as total_events,
    coalesce(sum(unsaved_events) filter (where ${hoursIn(scope)}), 0)::bigint as unsaved_events,
    coalesce(sum(total_events) filter (where not ${hoursIn(scope)}), 0)::bigint as earlier_events,
    (select coalesce(sum(pruned_events), 0)::bigint from sealed_hours where ${hoursIn(scope)}) as pruned_events,
    count(*) filter (where is_wrong) as inconsistent,
    (select json_agg(s) from (
      select to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as hour, event_type,
        format('%s events: %s users, %s durations of %s ms, %s unsaved, %s late', total_events, unique_users,
          duration_count, total_duration_ms, unsaved_events, late_events) as counts
      from hours where is_wrong order by aggregation_hour, event_type limit ${MAX_SAMPLES}) s) as samples
  from hours`;

/**
 * Checks that the stored hours are consistent and contain as many events as were stored.
 * @param stored the events that the offsets account for as stored
 */
export async function checkHourCounts(
  tx: Transaction,
  stored: number,
  scope: CheckScope,
): Promise<{ sums: HourSums; invariants: Invariant[] }> {
  const [row] = await tx.unsafe<[HourCounts]>(countHours(scope));
  const difference = row.total_events - stored;
  return {
    sums: row,
    invariants: [
      makeInvariant(
        "hours_hold_every_event",
        `${count(stored)} events stored, ${count(row.total_events)} in ${count(row.hours)} hours and types`,
        difference === 0
          ? { count: 0, samples: [] }
          : {
              count: 1,
              samples: [`${count(Math.abs(difference))} too ${difference < 0 ? "few" : "many"}`],
            },
      ),
      makeInvariant(
        "hour_counts_consistent",
        `${count(row.hours)} hours and types: no count is negative, and none exceeds total_events`,
        faults(row.inconsistent, row.samples, (hour) => `${nameOf(hour)}: ${hour.counts}`),
      ),
    ],
  };
}
