import { afterAll, beforeAll, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeHeaders } from "../../shared/pipeline/record-headers.ts";
import { insertDeadLetters } from "../../shared/store/dead-letters.ts";
import type { TestDatabase } from "../support/postgres.ts";
import type { DeadLetter } from "../../shared/event.ts";
import { Batch } from "../../shared/pipeline/batch.ts";
import { CUT_BYTES } from "../../shared/pipeline/record-block.ts";
import type { Transaction } from "../../shared/store/session.ts";
import {
  addRecord,
  batchOf,
  eventText,
  CLOCK,
  NOW_MS,
  readText,
  SKEW_MS,
  type TestRecord,
} from "../pipeline/record.ts";
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

test("of a record that is too large the beginning, the lengths and the hash are kept, and rejected again", async () => {
  const value = Buffer.alloc(CUT_BYTES, "x");
  const sha256 = new Bun.CryptoHasher("sha256").update("the whole value").digest();
  const from = nextOffset;
  const batch = new Batch(3);
  batch.open(CLOCK, 0);
  addRecord(batch.block, { offset: from, value: "before" });
  batch.block.cutValues.set(1, { bytes: 5_000_000_000, sha256 });
  batch.block.cutKeys.set(1, { bytes: 2_000_000, sha256 });
  const headers = [{ name: "h", value: new Uint8Array(2_000_000) }];
  addRecord(batch.block, { offset: from + 1, value, key: value, headers });
  addRecord(batch.block, { offset: from + 2, value: "behind" });
  batch.read(() => ({ ...partitionKey(0), from }));
  await worker.store.commit(batch);
  nextOffset += 3;
  const rows = await database.sql`
    select value, value_bytes::float8, value_sha256, key, key_bytes::float8, headers, headers_bytes::float8, reason, error
    from dead_letter_events where "offset" between ${from} and ${from + 2} order by "offset"`;
  const whole = { value_bytes: null, value_sha256: null, key_bytes: null, headers_bytes: null };
  expect(rows).toMatchObject([
    whole,
    {
      value,
      value_bytes: 5_000_000_000,
      value_sha256: Buffer.from(sha256),
      key: value,
      key_bytes: 2_000_000,
      headers: Buffer.from("[]"),
      headers_bytes: 2_000_001,
      reason: "too_large",
      error: "the value has 5000000000 bytes; at most 1048576 are accepted",
    },
    whole,
  ]);
  await expectProven(database);
});

test("many large dead letters are stored in statements of a few megabytes", async () => {
  const value = Buffer.alloc(700_000, 0xff);
  const rows = await commit(Array.from({ length: 20 }, () => ({ value })));
  expect(rows.map(({ value: stored }) => stored?.equals(value))).toEqual(
    Array.from({ length: 20 }, () => true),
  );
  const statements: number[] = [];
  const tx = { unsafe: (_: string, parameters: string[]) => statements.push(parameters[6]!.length) };
  await insertDeadLetters(
    tx as unknown as Transaction,
    Array.from({ length: 20 }, (_, offset) => letterWith(offset, value)),
    CLOCK,
  );
  expect(statements).toHaveLength(20);
  expect(Math.max(...statements)).toBeLessThan(2 * 1024 * 1024);
});

function letterWith(offset: number, value: Uint8Array): DeadLetter {
  const rejection = { stage: "decode", reason: "not_utf8", error: "" } as const;
  return { ...partitionKey(9), offset, key: undefined, value, headers: undefined, rejection };
}

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
