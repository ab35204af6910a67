import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  readAccounts,
  readDeadLetter,
  readHours,
  readNewestDeadLetters,
} from "../../shared/store/read-model.ts";
import type { Session, Transaction } from "../../shared/store/session.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { enter, openSession, partitionKey, pipelineDatabase } from "./pipeline-database.ts";

let database: TestDatabase;
let session: Session;

beforeAll(async () => {
  database = await pipelineDatabase();
  const worker = await openSession(database);
  await enter(worker, 3);
  worker.destroy();
  session = await openSession(database, { role: "console" });
  const { sql } = database;
  await sql`
    insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, unsaved_events, late_events, closed_at)
    select '2026-03-14T00:00:00Z'::timestamptz + make_interval(hours => h * 2), 'type_' || t, 100 * t + h, t, 1500 * t, t, 0, h,
      case when h < 29 then now() end
    from generate_series(0, 29) h, generate_series(1, 15) t`;
  const { topic, topicId } = partitionKey(0);
  await sql`
    insert into dead_letter_events (topic, topic_id, partition, "offset", key, value, headers, stage, reason, error,
      first_seen_at, max_future_skew_seconds)
    select ${topic}, ${topicId}, o % 3, o, 'key', case when o % 10 > 0 then convert_to(repeat('x', 1000), 'UTF8') end, null,
      'decode', 'not_json', repeat('e', 700), '2026-03-14T00:00:00Z'::timestamptz + make_interval(secs => o), 60
    from generate_series(0, 99) o`;
  await sql`
    update dead_letter_events set value = convert_to(repeat(md5('x'), 32768), 'UTF8') where "offset" = 98`;
  await sql`update pipeline_offsets set dead_lettered = 33 + (partition = 0)::int, next_offset = 100`;
});

afterAll(async () => {
  await session.close();
  await database[Symbol.asyncDispose]();
});

function read<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
  return session.transaction(5000, body);
}

test("every partition's account, in its order", async () => {
  const accounts = await read(readAccounts);
  expect(
    accounts.map(({ partition, nextOffset, deadLettered }) => [partition, nextOffset, deadLettered]),
  ).toEqual([
    [0, 100, 34],
    [1, 100, 33],
    [2, 100, 33],
  ]);
  expect(accounts[0]?.updatedAtMs).toBeGreaterThan(Date.now() - 600_000);
});

test("the newest 24 hours that have events, with gaps between them, the most frequent types apart", async () => {
  const rows = await read(readHours);
  const hours = [...new Set(rows.map(({ startMs }) => startMs))];
  const first = Date.UTC(2026, 2, 14, 12);
  expect(hours).toEqual(Array.from({ length: 24 }, (_, index) => first + index * 7_200_000));
  const newest = rows.filter(({ startMs }) => startMs === hours.at(-1));
  expect(
    newest.map(({ eventType, types, events, uniqueUsers }) => [eventType, types, events, uniqueUsers]),
  ).toEqual([
    ...Array.from({ length: 10 }, (_, index) => [
      `type_${15 - index}`,
      1,
      100 * (15 - index) + 29,
      15 - index,
    ]),
    [null, 5, 100 * 15 + 29 * 5, 15],
  ]);
  expect(newest.every(({ isClosed }) => !isClosed)).toBe(true);
  expect(rows.find(({ startMs }) => startMs === hours[0])).toMatchObject({
    isClosed: true,
    averageSeconds: 1.5,
    lateEvents: 6,
  });
});

test("the newest dead letters of all partitions, each with its beginning only", async () => {
  const letters = await read(readNewestDeadLetters);
  expect(letters.map(({ offset }) => offset)).toEqual(Array.from({ length: 20 }, (_, index) => 99 - index));
  expect(letters[0]).toMatchObject({
    valueBytes: 1000,
    reason: "not_json",
    firstSeenAtMs: Date.UTC(2026, 2, 14, 0, 1, 39),
  });
  expect(letters[0]?.value).toHaveLength(240);
  expect(letters[0]?.error).toHaveLength(500);
  expect(letters[1]).toMatchObject({ offset: 98, valueBytes: 1_048_576 });
  expect(letters[1]?.value).toHaveLength(240);
  expect(letters.find(({ offset }) => offset === 90)).toMatchObject({ value: null, valueBytes: null });
});

test("one dead letter, with more of it, or none", async () => {
  const key = { ...partitionKey(98 % 3), offset: 98 };
  const letter = await read((tx) => readDeadLetter(tx, key));
  expect(letter).toMatchObject({ valueBytes: 1_048_576, keyBytes: 3, headers: null, headersBytes: null });
  expect(letter?.value).toHaveLength(8192);
  expect(await read((tx) => readDeadLetter(tx, { ...key, offset: 97 }))).toBeUndefined();
});

test("nothing can be written through such a session", async () => {
  const failure = await session
    .run((sql) => sql`delete from dead_letter_events`)
    .catch((error: unknown) => error);
  expect(String(failure)).toContain("read-only transaction");
});
