// Proves that sealed hours are as they were sealed, and tells which hours a check has taken on trust.

import type { Transaction } from "../session.ts";
import { count } from "../../text/format.ts";
import { type Invariant, makeInvariant, MAX_SAMPLES, type TrustedHours } from "./report.ts";
import { type CheckScope, hoursIn } from "./scope.ts";

const HOUR = `to_char(aggregation_hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

/** The figures of an hour. Text: a sum of durations may have more digits than a number holds. */
const FIGURES = `format('%s events, %s users, %s durations of %s ms, %s unsaved, %s late', total_events, unique_users,
  duration_count, trim_scale(total_duration_ms), unsaved_events, late_events)`;

const COMPARE = `
  with sealed as (
    select aggregation_hour, event_type, ${FIGURES} as figures, pruned_events, pruned_users,
      pruned_events > total_events - unsaved_events or pruned_users > unique_users or least(pruned_events, pruned_users) < 0
        or aggregation_hour >= coalesce((select retention_cutoff from pipeline_state), '-infinity') as is_wrong
    from sealed_hours
  ), hours as (
    select aggregation_hour, event_type, ${FIGURES} as figures from hourly_aggregations
  ), compared as (
    select aggregation_hour, event_type, s.figures as sealed, h.figures as stored, pruned_events, pruned_users,
      h.figures is distinct from s.figures as has_changed, is_wrong
    from sealed s left join hours h using (aggregation_hour, event_type)
  )
  select count(*) as hours, coalesce(sum(pruned_events), 0)::bigint as pruned_events,
    coalesce(sum(pruned_users), 0)::bigint as pruned_users, count(*) filter (where has_changed or is_wrong) as wrong,
    (select json_agg(s) from (
      select ${HOUR} as hour, event_type, sealed, stored, pruned_events, pruned_users, has_changed
      from compared where has_changed or is_wrong order by aggregation_hour, event_type limit ${MAX_SAMPLES}) s) as samples
  from compared`;

interface SealedHour {
  hour: string;
  event_type: string;
  sealed: string;
  /** Null where hourly_aggregations has no such row. */
  stored: string | null;
  pruned_events: number;
  pruned_users: number;
  has_changed: boolean;
}

interface ComparisonRow {
  hours: number;
  pruned_events: number;
  pruned_users: number;
  wrong: number;
  samples: SealedHour[] | null;
}

/** Compares all sealed hours with their seals, and with the cut-off. */
export async function checkSealedHours(tx: Transaction): Promise<Invariant> {
  const [row] = await tx.unsafe<[ComparisonRow]>(COMPARE);
  return makeInvariant(
    "sealed_hours_unchanged",
    `${count(row.hours)} hours and types as they were sealed, ${count(row.pruned_events)} of their events and ${count(row.pruned_users)} of their users pruned`,
    { count: row.wrong, samples: (row.samples ?? []).map(explain) },
  );
}

function explain({
  hour,
  event_type,
  sealed,
  stored,
  pruned_events,
  pruned_users,
  has_changed,
}: SealedHour): string {
  const name = `${hour} ${event_type}`;
  if (!has_changed) {
    return `${name} is not below the cut-off, or has more pruned than it had: ${pruned_events} events and ${pruned_users} users pruned`;
  }
  return `${name} was sealed with ${sealed}, and ${stored === null ? "is missing" : `has ${stored}`}`;
}

/** What a check has not proved from raw events; null where it has proved everything. */
export async function readTrustedHours(tx: Transaction, scope: CheckScope): Promise<TrustedHours | null> {
  if (scope.since === undefined) return null;
  const [row] = await tx.unsafe<[Omit<TrustedHours, "before">]>(`
    select count(*) as hours, count(s.sealed_at) as sealed_hours, coalesce(sum(h.total_events), 0)::bigint as events
    from hourly_aggregations h left join sealed_hours s using (aggregation_hour, event_type)
    where not ${hoursIn(scope)}`);
  return { before: scope.since, ...row };
}

/** For a person. */
export function describeTrust({ before, hours, sealed_hours, events }: TrustedHours): string {
  return (
    `hours before ${before}: ${count(hours)} hours and types with ${count(events)} events; ` +
    `${count(sealed_hours)} equal their seals, ${count(hours - sealed_hours)} are taken on trust`
  );
}
