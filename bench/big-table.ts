// Fills a database with as many events as wanted, without Kafka: the rows that consumers would have stored.
import type { TestDatabase } from "../test/support/postgres.ts";

const HOUR_MS = 3_600_000;
/** Days that the events are spread over. */
const DAYS = 20;
const EVENTS_AT_ONCE = 500_000;

/** @returns the last hour that has events */
export async function bigTable({ sql }: TestDatabase, events: number): Promise<Date> {
  const hours = DAYS * 24;
  const lastHour = new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - HOUR_MS);
  const begin = new Date(lastHour.getTime() - (hours - 1) * HOUR_MS).toISOString();
  for (let first = 0; first < events; first += EVENTS_AT_ONCE) {
    await sql`
      insert into raw_events
      select 'page_view_' || (1700000000000 + n) || '_' || md5(n::text), 'user_' || n * 7919 % 100000,
        (array['page_view', 'click', 'search', 'login'])[1 + n % 4],
        jsonb_build_object('session_id', md5(n::text), 'page_url', '/page/' || n % 100, 'referrer', repeat('r', 60)),
        case when n % 2 = 0 then (n % 1000) / 8.0 end, at, at + interval '20 ms'
      from generate_series(${first}::bigint, ${Math.min(events, first + EVENTS_AT_ONCE) - 1}::bigint) as n,
        lateral (select ${begin}::text::timestamptz + make_interval(secs => n::float8 / ${events} * ${hours} * 3600) as at) t`;
  }
  await sql`
    insert into hourly_users
    select distinct date_trunc('hour', "timestamp", 'UTC'), event_type, user_id from raw_events`;
  await sql`
    insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, unsaved_events, late_events)
    select date_trunc('hour', "timestamp", 'UTC'), event_type, count(*), count(distinct user_id),
      coalesce(sum(round(duration_seconds::numeric * 1000)), 0), count(duration_seconds), 0, 0
    from raw_events group by 1, 2`;
  await sql`
    insert into pipeline_offsets (topic, topic_id, partition, first_offset, next_offset, consumed, stored)
    values ('bench', 'bench', 0, 0, ${events}, ${events}, ${events})`;
  // As autovacuum has by the time that a table is so large.
  await sql`vacuum analyze`;
  return lastHour;
}
