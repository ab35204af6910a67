// Opens databases with the pipeline's tables, sessions and stores for tests, and reads back what the tables hold.
import { expect } from "bun:test";
import type { Batch } from "../../shared/pipeline/batch.ts";
import type { ReadingKey, Span } from "../../shared/pipeline/span.ts";
import { migrate } from "../../shared/store/migrate.ts";
import { readMigrations } from "../../shared/store/migration-files.ts";
import type { PipelineState } from "../../shared/store/pipeline-state.ts";
import { enterPartitions } from "../../shared/store/positions.ts";
import { Session, type SessionOptions } from "../../shared/store/session.ts";
import { Store, type StoreOptions } from "../../shared/store/store.ts";
import { type TestDatabase, sharedPostgres } from "../support/postgres.ts";
import { batchOf, type TestRecord } from "../pipeline/record.ts";

export const GROUP = "test-group";

/** A fresh database without tables. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return await (await sharedPostgres()).database();
}

/** A fresh database with the tables of sql/. */
export async function pipelineDatabase(): Promise<TestDatabase> {
  const server = await sharedPostgres();
  return await server.database({ prepared: { name: "migrated", prepare: migrateDatabase } });
}

/** Creates the tables of sql/ in an empty database. */
export async function migrateDatabase(database: Pick<TestDatabase, "config">): Promise<void> {
  const session = await openSession(database, { role: "main" });
  await migrate(session.sql, await readMigrations());
  await session.close();
}

/** The application's backends in a database. */
export async function backends({ sql }: TestDatabase): Promise<number[]> {
  const rows = await sql<{ pid: number }[]>`
    select pid from pg_stat_activity where datname = current_database() and application_name like 'event-pipeline %'`;
  return rows.map(({ pid }) => pid);
}

/** More than any delay between two statements of a test, and far less than the error of a wrong clock. */
export const ANY_DELAY_MS = 600_000;

/** Asserts that a session's clock is the database's. */
export async function expectClock({ sql }: TestDatabase, session: Session): Promise<void> {
  const [row] = await sql<[{ now_ms: number }]>`
    select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`;
  expect(Math.abs(session.now() - row.now_ms)).toBeLessThan(ANY_DELAY_MS);
}

export async function openSession(
  database: Pick<TestDatabase, "config">,
  options: Partial<SessionOptions> = {},
): Promise<Session> {
  return await Session.open(database.config, { role: "worker", consumerGroup: GROUP, ...options });
}

/** What a fresh database has in pipeline_state. */
export const EMPTY_STATE: PipelineState = { usersEpoch: 0, cutoffMs: undefined };

/** The defaults of a consumer. */
export const STORE_OPTIONS: StoreOptions = { saveRawEvents: true, copyRawEvents: true, hourGraceMs: 300_000 };

/** A store and its session, which ends with its scope. */
export interface TestStore extends AsyncDisposable {
  readonly database: TestDatabase;
  readonly session: Session;
  readonly store: Store;
}

/** A store in a fresh database, which has the partitions 0 to `partitions` - 1. Both end with its scope. */
export async function freshStore(partitions = 1, options: Partial<StoreOptions> = {}): Promise<TestStore> {
  const database = await pipelineDatabase();
  const worker = await openStore(database, options);
  await enter(worker.session, partitions);
  return {
    ...worker,
    async [Symbol.asyncDispose]() {
      await worker[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

export async function openStore(
  database: TestDatabase,
  options: Partial<StoreOptions> = {},
): Promise<TestStore> {
  const session = await openSession(database);
  return {
    database,
    session,
    store: new Store(session, { ...STORE_OPTIONS, ...options }),
    async [Symbol.asyncDispose]() {
      session.destroy();
    },
  };
}

/** The first reading of a partition. */
export function partitionKey(partition: number): ReadingKey {
  return { topic: "user-events", topicId: "AAAAAAAAQACAAAAAAAAAAA", partition, reading: 0 };
}

/** Enters partitions 0 to `count` - 1, from offset 0 on. */
export async function enter(session: Session, count: number): Promise<void> {
  const starts = Array.from({ length: count }, (_, partition) => ({
    ...partitionKey(partition),
    nextOffset: 0,
  }));
  await session.run((sql) => enterPartitions(sql, starts));
}

/** A batch of one partition with these values at consecutive offsets. */
export function batchFrom(from: number, values: readonly TestRecord["value"][], partition = 0): Batch {
  return batchOf(
    values.map((value, index) => ({ offset: from + index, value })),
    [{ ...partitionKey(partition), from }],
  );
}

/** The spans of a batch, counted as by a store to which all of its events are new. */
export function countedSpans(batch: Batch): Span[] {
  const spans = [...batch.spans.values()];
  batch.countStored(batch.distinct());
  return spans;
}

/** All rows that a batch may change, to compare before and after. */
export async function everything({ sql }: TestDatabase): Promise<Record<string, unknown[]>> {
  const tables = {
    raw_events: "event_id",
    hourly_aggregations: "aggregation_hour, event_type",
    hourly_users: "aggregation_hour, event_type, user_id",
    pipeline_offsets: 'topic, topic_id, "partition", reading',
    dead_letter_events: 'topic, topic_id, "partition", reading, "offset"',
  };
  const rows = await Promise.all(
    Object.entries(tables).map(async ([table, key]) => {
      const found = await sql.unsafe<{ row: string }[]>(
        `select t::text as row from ${table} t order by ${key}`,
      );
      return [table, found.map(({ row }) => row)] as const;
    }),
  );
  return Object.fromEntries(rows);
}

/** The number of rows of each table. */
export async function rowCounts(database: TestDatabase): Promise<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(await everything(database)).map(([table, rows]) => [table, rows.length]),
  );
}

/** The counts of a partition's current reading. */
export async function ledgerOf({ sql }: TestDatabase, partition = 0): Promise<Record<string, number>> {
  const [row] = await sql`
    select first_offset::float8, next_offset::float8, consumed::float8, deleted::float8, gaps::float8,
      stored::float8, duplicates::float8, dead_lettered::float8
    from pipeline_offsets where partition = ${partition} and closed_at is null`;
  return { ...row };
}

/**
 * What must always hold: the hours are a GROUP BY of the raw events, the offsets account for every record, and the
 * counts add up. Each query returns the rows that contradict it.
 */
const BROKEN = {
  "hours and their GROUP BY": `
    with recomputed as (
      select date_trunc('hour', "timestamp", 'UTC') as aggregation_hour, event_type, count(*) as total_events,
        count(distinct user_id) as unique_users, coalesce(sum(round(duration_seconds::numeric * 1000)), 0) as total_duration_ms,
        count(duration_seconds) as duration_count
      from raw_events group by 1, 2
    ), kept as (
      select aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count
      from hourly_aggregations
    )
    (table recomputed except table kept) union all (table kept except table recomputed)`,
  "totals and averages in seconds": `
    with recomputed as (
      select date_trunc('hour', "timestamp", 'UTC') as aggregation_hour, event_type,
        sum(duration_seconds::numeric) as total, avg(duration_seconds::numeric) as average
      from raw_events group by 1, 2
    )
    select * from hourly_aggregations h join recomputed r using (aggregation_hour, event_type)
    where h.total_duration_seconds <> coalesce(r.total, 0)
      or (h.avg_duration_seconds is null) <> (r.average is null) or abs(h.avg_duration_seconds - r.average) > 1e-9`,
  "hourly users": `
    with recomputed as (
      select distinct date_trunc('hour', "timestamp", 'UTC') as aggregation_hour, event_type, user_id from raw_events
    )
    (table recomputed except table hourly_users) union all (table hourly_users except table recomputed)`,
  "accounts of the offsets": `
    select * from pipeline_offsets
    where next_offset - first_offset <> consumed + deleted + gaps or consumed <> stored + duplicates + dead_lettered`,
  "stored and raw rows": `
    select 1 where (select coalesce(sum(stored), 0) from pipeline_offsets) <> (select count(*) from raw_events)`,
  "dead letters": `
    select 1 from pipeline_offsets o where dead_lettered <> (
      select count(*) from dead_letter_events d
      where (d.topic, d.topic_id, d.partition, d.reading) = (o.topic, o.topic_id, o.partition, o.reading) and d.offset < o.next_offset
        and d.state in ('open', 'discarded'))`,
};

/** Asserts that the tables are consistent. */
export async function expectProven({ sql }: TestDatabase): Promise<void> {
  const found = await Promise.all(
    Object.entries(BROKEN).map(async ([what, query]) => [what, [...(await sql.unsafe(query))]] as const),
  );
  expect(Object.fromEntries(found.filter(([, rows]) => rows.length > 0))).toEqual({});
}
