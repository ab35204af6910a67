import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Compile } from "typebox/compile";
import { DeadLetterSchema, DeadLettersSchema, HoursSchema, LedgerSchema } from "../../shared/api-schema.ts";
import {
  readDeadLetter,
  readHours,
  readLedger,
  readNewestDeadLetters,
} from "../../shared/store/read-model.ts";
import type { Session, Transaction } from "../../shared/store/session.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { enter, openSession, partitionKey, pipelineDatabase } from "./pipeline-database.ts";

/** Every partition balances. */
const RESET = `update pipeline_offsets set first_offset = 0, next_offset = 100, consumed = 100, deleted = 0, gaps = 0,
  dead_lettered = 33 + (partition = 0)::int, stored = 67 - (partition = 0)::int, duplicates = 0`;

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
  await sql.unsafe(RESET);
});

afterAll(async () => {
  await session.close();
  await database[Symbol.asyncDispose]();
});

function read<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
  return session.transaction(5000, body);
}

describe("the read model", () => {
  test("lists every partition in the order of its key, and adds up their records", async () => {
    const { partitions, totals } = await read(readLedger);
    expect(
      partitions.map(({ partition, nextOffset, deadLettered }) => [partition, nextOffset, deadLettered]),
    ).toEqual([
      [0, 100, 34],
      [1, 100, 33],
      [2, 100, 33],
    ]);
    expect(totals).toEqual({
      consumed: 300,
      deleted: 0,
      gaps: 0,
      stored: 200,
      duplicates: 0,
      deadLettered: 100,
      discarded: 0,
      replayed: 0,
    });
    expect(partitions[0]?.updatedAtMs).toBeGreaterThan(Date.now() - 600_000);
  });

  test.each([
    [
      "a record that is neither stored nor a duplicate nor a dead letter",
      "consumed = consumed + 1, gaps = -1",
    ],
    ["an offset that is neither consumed nor deleted nor a gap", "next_offset = next_offset + 1"],
  ])("reports %s, and in which partition", async (_, change) => {
    expect((await read(readLedger)).balances).toBe(true);
    await database.sql.unsafe(`update pipeline_offsets set ${change} where partition = 1`);
    const { balances, partitions } = await read(readLedger);
    await database.sql.unsafe(RESET);
    expect(balances).toBe(false);
    expect(partitions.map((partition) => partition.balances)).toEqual([true, false, true]);
  });

  test("lists the newest 24 hours with events, their frequent types one by one and the rarer ones together", async () => {
    const hours = await read(readHours);
    const first = Date.UTC(2026, 2, 14, 12);
    expect(hours.map(({ startMs }) => startMs)).toEqual(
      Array.from({ length: 24 }, (_, index) => first + index * 7_200_000),
    );
    const newest = hours.at(-1)!;
    expect(newest.isClosed).toBe(false);
    expect(
      newest.types.map(({ eventType, events, uniqueUsers }) => [eventType, events, uniqueUsers]),
    ).toEqual(
      Array.from({ length: 10 }, (_, index) => [`type_${15 - index}`, 100 * (15 - index) + 29, 15 - index]),
    );
    expect(newest.others).toEqual({ types: 5, events: 100 * 15 + 29 * 5 });
    expect(hours[0]?.isClosed).toBe(true);
    expect(hours[0]?.types[0]).toMatchObject({ averageSeconds: 1.5, lateEvents: 6 });
  });

  test("lists the newest hours that have begun, whatever the clocks of clients say", async () => {
    const before = await read(readHours);
    await database.sql`
      insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
        duration_count, unsaved_events, late_events)
      select date_trunc('hour', now(), 'UTC') + make_interval(hours => h), 'early', 1, 1, 0, 0, 0, 0 from generate_series(1, 30) h`;
    const hours = await read(readHours);
    await database.sql`delete from hourly_aggregations where event_type = 'early'`;
    expect(hours).toEqual(before);
  });

  test("lists the newest dead letters of all partitions, each with the first bytes of its value", async () => {
    const letters = await read(readNewestDeadLetters);
    expect(letters.map(({ offset }) => offset)).toEqual(Array.from({ length: 20 }, (_, index) => 99 - index));
    expect(letters[0]).toMatchObject({
      value: { bytes: 1000, isCut: true, shown: "x".repeat(240) },
      reason: "not_json",
      state: "open",
      firstSeenAtMs: Date.UTC(2026, 2, 14, 0, 1, 39),
    });
    expect(letters[0]?.error).toHaveLength(500);
    expect(letters[1]).toMatchObject({ offset: 98, value: { bytes: 1_048_576, isCut: true } });
    expect(letters[1]?.value?.shown).toHaveLength(240);
    expect(letters.find(({ offset }) => offset === 90)?.value).toBeNull();
  });

  test("reads one dead letter by its position, with more of its value", async () => {
    const key = { ...partitionKey(98 % 3), offset: 98 };
    const letter = await read((tx) => readDeadLetter(tx, key));
    expect(letter).toMatchObject({ key: { shown: "key", bytes: 3, isCut: false }, headers: null });
    expect(letter?.value).toMatchObject({ bytes: 1_048_576, isCut: true });
    expect(letter?.value?.shown).toHaveLength(8192);
    expect(await read((tx) => readDeadLetter(tx, { ...key, offset: 97 }))).toBeUndefined();
  });

  test("shows what became of a letter, also where a partition has no others left", async () => {
    const key = { ...partitionKey(2), offset: 98 };
    await database.sql`
      update dead_letter_events set state = 'stored', attempts = 2, changed_at = '2026-03-14T01:00:00Z', event_id = 'e',
        mended_value = 'mended' where partition = 2 and "offset" = 98`;
    await database.sql`update pipeline_offsets set dead_lettered = 0, replayed = 33 where partition = 2`;
    const newest = await read(readNewestDeadLetters);
    const letter = await read((tx) => readDeadLetter(tx, key));
    const { totals } = await read(readLedger);
    await database.sql`update dead_letter_events set state = 'open' where partition = 2`;
    await database.sql.unsafe(RESET);
    await database.sql`update pipeline_offsets set replayed = 0`;
    expect(newest.find(({ offset }) => offset === 98)).toMatchObject({ partition: 2, state: "stored" });
    expect(letter).toMatchObject({
      state: "stored",
      attempts: 2,
      changedAtMs: Date.UTC(2026, 2, 14, 1),
      attemptError: null,
      eventId: "e",
      mendedValue: { form: "text", shown: "mended" },
      discardReason: null,
    });
    expect(totals).toMatchObject({ deadLettered: 67, replayed: 33, discarded: 0 });
    expect(Compile(DeadLetterSchema).Errors(letter)).toEqual([]);
  });

  test("has only the fields that /api describes", async () => {
    const source = { state: "current", sinceMs: 0, readAtMs: null, reason: null };
    const ledger = await read(readLedger);
    const hours = await read(readHours);
    const newestDeadLetters = await read(readNewestDeadLetters);
    expect(Compile(LedgerSchema).Errors({ database: source, ...ledger })).toEqual([]);
    expect(Compile(HoursSchema).Errors({ database: source, hours })).toEqual([]);
    const letters = {
      database: source,
      total: 1,
      discarded: 0,
      replayed: 0,
      byReason: [],
      newest: newestDeadLetters,
    };
    expect(Compile(DeadLettersSchema).Errors(letters)).toEqual([]);
  });
});

test("a console session cannot write", async () => {
  const failure = await session
    .run((sql) => sql`delete from dead_letter_events`)
    .catch((error: unknown) => error);
  expect(String(failure)).toContain("read-only transaction");
});
