import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeHeaders } from "../../shared/pipeline/record-block.ts";
import { insertDeadLetters } from "../../shared/store/dead-letters.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { batchOf, eventText, CLOCK, NOW_MS, readText, SKEW_MS, type TestRecord } from "../pipeline/record.ts";
import {
  enter,
  expectProven,
  openStore,
  partitionKey,
  pipelineDatabase,
  type TestStore,
} from "./pipeline-database.ts";

let database: TestDatabase;
let worker: TestStore;
let nextOffset = 0;

beforeAll(async () => {
  database = await pipelineDatabase();
  worker = await openStore(database);
  await enter(worker.session, 1);
});

afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
});

/** Commits records as one batch. @returns the rows of its dead letters, by offset */
async function commit(records: readonly Omit<TestRecord, "offset">[]) {
  const from = nextOffset;
  const batch = batchOf(
    records.map((record, index) => ({ ...record, offset: from + index })),
    [{ ...partitionKey(0), from }],
  );
  await worker.store.commit(batch);
  nextOffset += records.length;
  return await database.sql<
    {
      offset: string;
      key: Buffer | null;
      value: Buffer | null;
      headers: Buffer | null;
      stage: string;
      reason: string;
      error: string;
    }[]
  >`select "offset", key, value, headers, stage, reason, error from dead_letter_events where "offset" >= ${from} order by "offset"`;
}

test("a dead letter keeps its bytes, and tells empty from null", async () => {
  const every = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const headers = [
    { name: 'n"\\,{}', value: every },
    { name: "", value: undefined },
  ];
  const rows = await commit([
    { value: undefined },
    { value: "", key: "" },
    { value: every, key: every, headers },
    { value: "\\x00", key: "NULL", headers: [] },
    { value: '{"}', key: '"' },
  ]);
  expect(rows.map(({ key, value, headers: stored }) => ({ key, value, headers: stored }))).toEqual([
    { key: null, value: null, headers: null },
    { key: Buffer.alloc(0), value: Buffer.alloc(0), headers: null },
    { key: Buffer.from(every), value: Buffer.from(every), headers: encodeHeaders(headers) },
    { key: Buffer.from("NULL"), value: Buffer.from("\\x00"), headers: Buffer.from("[]") },
    { key: Buffer.from('"'), value: Buffer.from('{"}'), headers: null },
  ]);
  expect(rows.map(({ reason }) => reason)).toEqual([
    "tombstone",
    "not_json",
    "not_utf8",
    "not_json",
    "not_json",
  ]);
});

test("a dead letter names its origin, its reason, and the clock and limit of its validation", async () => {
  const [row] = await commit([{ value: eventText({ user_id: "" }) }]);
  const [stored] = await database.sql`
    select topic, topic_id, partition, stage, reason, error, extract(epoch from first_seen_at)::float8 * 1000 as seen_ms,
      max_future_skew_seconds from dead_letter_events where "offset" = ${row!.offset}`;
  expect(stored).toMatchObject({
    topic: "user-events",
    partition: 0,
    topic_id: partitionKey(0).topicId,
    stage: "validate",
    reason: "out_of_range",
    error: "user_id: must not have fewer than 1 characters",
    seen_ms: NOW_MS,
    max_future_skew_seconds: SKEW_MS / 1000,
  });
});

test("any bytes can be a dead letter, and are rejected again with the same clock", async () => {
  const bytes = fc.option(fc.uint8Array({ maxLength: 60 }), { nil: undefined });
  const record = fc.record({ key: bytes, value: bytes });
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 20 }), async (records) => {
      const sent = records.map(({ key, value }) => ({ value, ...(key === undefined ? {} : { key }) }));
      const rows = await commit(sent);
      // Random bytes are never an event.
      expect(rows.map(({ key, value }) => ({ key, value }))).toEqual(
        records.map(({ key, value }) => ({
          key: key ? Buffer.from(key) : null,
          value: value ? Buffer.from(value) : null,
        })),
      );
      for (const { value, reason, stage } of rows) {
        if (value !== null) expect(readText(value)).toMatchObject({ reason, stage });
      }
    }),
    { numRuns: 50 },
  );
  await expectProven(database);
});

test("an error with any characters is stored unchanged", async () => {
  const error = `quote " backslash \\ comma , braces {} NULL 😀 \u001e`;
  const letter = {
    ...partitionKey(7),
    offset: 1,
    key: undefined,
    value: undefined,
    headers: undefined,
    rejection: {
      stage: "store",
      reason: "refused_by_database",
      error,
    } as const,
  };
  await worker.session.transaction(5000, (tx) => insertDeadLetters(tx, [letter], CLOCK));
  expect(await database.sql`select error from dead_letter_events where partition = 7`).toMatchObject([
    { error },
  ]);
  await database.sql`delete from dead_letter_events where partition = 7`;
});

test("the key refuses a second dead letter of the same offset", async () => {
  const letter = {
    ...partitionKey(8),
    offset: 1,
    key: undefined,
    value: undefined,
    headers: undefined,
    rejection: {
      stage: "decode",
      reason: "tombstone",
      error: "",
    } as const,
  };
  const twice = worker.session.transaction(5000, (tx) => insertDeadLetters(tx, [letter, letter], CLOCK));
  await expect(twice).rejects.toMatchObject({ code: "23505" });
});
