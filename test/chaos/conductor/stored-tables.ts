// Reads the figures of every table in one snapshot, for the ledger.
import type postgres from "postgres";
import { EVENT_TYPES } from "./record.ts";

/** A row of pipeline_offsets. */
export interface StoredPartition {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly reading: number;
  readonly first: number;
  readonly next: number;
  readonly consumed: number;
  readonly deleted: number;
  readonly gaps: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLettered: number;
}

/** What identifies a set of events by a few figures. */
export interface EventSum {
  readonly count: number;
  readonly sum: number;
  /** The sum of `mixOf` over the events. */
  readonly mix: number;
}

/** A row of hourly_aggregations, and how many rows of hourly_users it has. */
export interface StoredHour {
  readonly hour: number;
  readonly type: string;
  readonly events: number;
  readonly users: number;
  readonly userRows: number;
  readonly durationMs: number;
  readonly durations: number;
}

export interface StoredLetter {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly reading: number;
  readonly offset: number;
}

export interface StoredTables {
  readonly partitions: readonly StoredPartition[];
  readonly raw: EventSum;
  /** Rows of raw_events whose columns are not those of their event. */
  readonly wrongRaw: number;
  readonly hours: readonly StoredHour[];
  readonly letters: readonly StoredLetter[];
}

/** A figure that depends on an event's number in another way than a sum does; below 2^31. */
export function mixOf(event: number): number {
  return (event % 65_521) * (event % 32_749);
}

const RAW = `
  select count(*)::float8 as count, coalesce(sum(n), 0)::float8 as sum,
    coalesce(sum((n % 65521) * (n % 32749)), 0)::float8 as mix,
    count(*) filter (where user_id <> 'user_' || (n * 7) % 503
      or event_type <> ($2::text[])[n % ${EVENT_TYPES.length} + 1]
      or "timestamp" <> to_timestamp(($1::bigint - greatest(0, n % 7 - 4)) * 3600 + (n % 3600000) / 1000.0)
      or duration_seconds is distinct from case when n % 4 = 0 then null else (n % 1000) * 0.125::float8 end
    )::float8 as wrong
  from (select *, substr(event_id, 7)::bigint as n from raw_events) r`;

/**
 * @param baseHour the hour in which the run began, hours since 1970
 * @throws what the driver throws
 */
export function readStoredTables(sql: postgres.Sql, baseHour: number): Promise<StoredTables> {
  return sql.begin("isolation level repeatable read read only", async (tx) => {
    const partitions = await tx<StoredPartition[]>`
      select topic, topic_id as "topicId", partition, reading, first_offset::float8 as first, next_offset::float8 as next,
        consumed::float8, deleted::float8, gaps::float8, stored::float8, duplicates::float8,
        dead_lettered::float8 as "deadLettered"
      from pipeline_offsets order by topic, topic_id, partition, reading`;
    const [raw] = await tx.unsafe<(EventSum & { wrong: number })[]>(RAW, [baseHour, [...EVENT_TYPES]]);
    const hours = await tx<StoredHour[]>`
      select (extract(epoch from aggregation_hour) / 3600)::int as hour, event_type as type, total_events::float8 as events,
        unique_users::float8 as users, total_duration_ms::float8 as "durationMs", duration_count::float8 as durations,
        (select count(*)::float8 from hourly_users u
          where u.aggregation_hour = h.aggregation_hour and u.event_type = h.event_type) as "userRows"
      from hourly_aggregations h`;
    const letters = await tx<StoredLetter[]>`
      select topic, topic_id as "topicId", partition, reading, "offset"::float8 as offset from dead_letter_events`;
    const { wrong, ...sum } = raw!;
    return {
      partitions: [...partitions],
      raw: sum,
      wrongRaw: wrong,
      hours: [...hours],
      letters: [...letters],
    };
  }) as Promise<StoredTables>;
}

/** The numbers of all stored events: only for naming what is wrong. */
export async function readStoredEvents(sql: postgres.Sql): Promise<number[]> {
  const rows = await sql<{ n: number }[]>`select substr(event_id, 7)::int as n from raw_events`;
  return rows.map(({ n }) => n);
}
