// Tests which events a check shows as the newest, and that it does not read all of them for that.
import { expect, test } from "bun:test";
import { newestEvents } from "../../shared/store/check/overview.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { openSession, pipelineDatabase } from "../store/pipeline-database.ts";

/** Adds events at these times, in SQL, and the rows of their hours. */
async function addEvents({ sql }: TestDatabase, times: readonly string[]): Promise<void> {
  for (const [index, time] of times.entries()) {
    await sql.unsafe(
      `with event as (
         insert into raw_events values ($1, 'u', 'click', '{}', null, ${time}, now()) returning "timestamp"
       )
       insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
         duration_count, unsaved_events, late_events)
       select date_trunc('hour', "timestamp", 'UTC'), 'click', 1, 1, 0, 0, 0, 0 from event
       on conflict (aggregation_hour, event_type) do update set total_events = hourly_aggregations.total_events + 1`,
      [`e${index}`],
    );
  }
}

async function newest(database: TestDatabase): Promise<string[]> {
  const session = await openSession(database, { role: "check" });
  try {
    return (await session.sql.begin((tx) => newestEvents(tx))).map(({ event_id }) => event_id);
  } finally {
    await session.close();
  }
}

test("the newest events are the last five by their own time, also over several hours", async () => {
  await using database = await pipelineDatabase();
  const at = (hours: number) => `timestamptz '2026-03-14T00:00Z' + make_interval(secs => ${hours * 3600})`;
  await addEvents(database, [at(1), at(9.5), at(9.25), at(3), at(30), at(2), at(2.5)]);
  expect(await newest(database)).toEqual(["e4", "e1", "e2", "e3", "e6"]);
});

test("the newest events are those of the past first, whatever the clock of a client says", async () => {
  await using database = await pipelineDatabase();
  const future = [1, 2, 3, 4, 5, 6].map((hours) => `now() + make_interval(hours => ${hours})`);
  await addEvents(database, [...future, "now() - interval '1 minute'", "now() - interval '3 hours'"]);
  expect(await newest(database)).toEqual(["e6", "e7", "e5", "e4", "e3"]);
});

test("the newest events of hours that mostly have no raw rows are found", async () => {
  await using database = await pipelineDatabase();
  await addEvents(database, ["timestamptz '2026-03-01T00:00Z'", "timestamptz '2026-03-02T00:00Z'"]);
  await database.sql`
    insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, unsaved_events, late_events)
    select timestamptz '2026-03-03' + make_interval(hours => n), 'click', 9, 1, 0, 0, 9, 0 from generate_series(1, 30) n`;
  expect(await newest(database)).toEqual(["e1", "e0"]);
});

test("the newest events are found without reading all events", async () => {
  await using database = await pipelineDatabase();
  const { sql } = database;
  await sql`
    insert into raw_events
    select 'e' || n, 'u', 'click', '{}', null, timestamptz '2026-03-14T00:00Z' + make_interval(secs => n), now()
    from generate_series(1, 50000) n`;
  await sql`
    insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, unsaved_events, late_events)
    select date_trunc('hour', "timestamp", 'UTC'), 'click', count(*), 1, 0, 0, 0, 0 from raw_events group by 1`;
  await sql`vacuum analyze raw_events, hourly_aggregations`;
  const scans = async () => {
    const [row] = await sql`
      select seq_scan::int as all, (select idx_scan::int from pg_stat_user_indexes where indexrelname = 'raw_events_timestamp_idx') as some
      from pg_stat_user_tables where relname = 'raw_events'`;
    return row as unknown as { all: number; some: number };
  };
  const before = await scans();
  const session = await openSession(database, { role: "check" });
  await session.sql.begin((tx) => newestEvents(tx));
  await session.sql`select pg_stat_force_next_flush()`;
  await session.close();
  const after = await scans();
  expect({ all: after.all - before.all, some: after.some - before.some }).toEqual({ all: 0, some: 1 });
});
