import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import { formatTimestamp } from "../../shared/pipeline/timestamp.ts";
import { insertByUnnest } from "../../shared/store/raw-events.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { eventText } from "../pipeline/record.ts";
import {
  batchFrom,
  expectProven,
  openStore,
  pipelineDatabase,
  rowCounts,
  type TestStore,
} from "./pipeline-database.ts";
import { freshId, RawEventWriter, WAYS } from "./raw-event-writer.ts";

/** Texts that a careless writer of SQL arrays gets wrong. */
const AWKWARD_TEXTS = [
  '"',
  "\\",
  '\\"',
  '","',
  "a,b",
  "{}",
  "{",
  "}",
  "NULL",
  "null",
  "'",
  "$1",
  "%s",
  "\\x41",
  "\\\\",
  " ",
  " leading and trailing ",
  "\t",
  "\n",
  "\r\n",
  "\u0001",
  "\u001e",
  "\u001f",
  "\u007f",
  "\u0085",
  "\u2028",
  "\ufeff",
  "\ufffd",
  "\uffff",
  "é",
  "e\u0301",
  "日本語",
  "😀",
  "👨‍👩‍👧‍👦",
  "\u{10ffff}",
  "مرحبا",
  "E'\\x1e'",
  "--",
  ";drop table raw_events",
];

describe.each(WAYS)("a raw event $how", ({ copyRawEvents }) => {
  let writer: RawEventWriter;
  let database: TestDatabase;

  beforeAll(async () => {
    writer = await RawEventWriter.open(copyRawEvents);
    database = writer.database;
  });

  afterAll(() => writer[Symbol.asyncDispose]());

  describe("its id, user and type", () => {
    test("are stored unchanged with any characters", async () => {
      await writer.store(
        ...AWKWARD_TEXTS.map((text) => eventText({ event_id: text, user_id: text, event_type: text })),
      );
      const rows =
        await database.sql`select event_id, user_id, event_type from raw_events where event_id = user_id`;
      expect(rows.map((row) => ({ ...row })).toSorted(byId)).toEqual(
        AWKWARD_TEXTS.map((text) => ({ event_id: text, user_id: text, event_type: text })).toSorted(byId),
      );
      const users =
        await database.sql`select user_id from hourly_users where user_id = event_type order by 1`;
      expect(users.map(({ user_id }) => user_id as string).toSorted()).toEqual(AWKWARD_TEXTS.toSorted());
      await expectProven(database);
    });

    test("are recognized as duplicates when they repeat", async () => {
      const before = (await rowCounts(database))["raw_events"];
      const batch = batchFrom(
        writer.nextOffset,
        AWKWARD_TEXTS.map((text) => eventText({ event_id: text, user_id: "another" })),
      );
      // A session without a memory of them.
      await using other = await openStore(database);
      expect((await other.store.commit(batch)).stored).toBeEmpty();
      writer.nextOffset += AWKWARD_TEXTS.length;
      expect((await rowCounts(database))["raw_events"]).toBe(before);
      await expectProven(database);
    });

    test("fit at their maximum lengths with four bytes per character", async () => {
      const wide = "\u{10ffff}";
      await writer.store(
        eventText({ event_id: wide.repeat(100), user_id: wide.repeat(100), event_type: wide.repeat(50) }),
      );
      const rows = await database.sql`
      select char_length(event_id) as id, char_length(user_id) as "user", char_length(event_type) as type
      from raw_events where event_id = ${wide.repeat(100)}`;
      expect(rows).toMatchObject([{ id: 100, user: 100, type: 50 }]);
    });

    test("can be stored for any text that validate accepts", async () => {
      const text = (max: number) =>
        fc
          .string({ unit: "binary", minLength: 1, maxLength: max })
          .filter(
            (candidate) =>
              candidate.isWellFormed() && !candidate.includes("\0") && Array.from(candidate).length <= max,
          );
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ user_id: text(100), event_type: text(50), suffix: text(60) }), {
            minLength: 1,
            maxLength: 15,
          }),
          async (changes) => {
            const events = changes.map(({ user_id, event_type, suffix }) => ({
              event_id: crypto.randomUUID() + suffix,
              user_id,
              event_type,
            }));
            await writer.store(...events.map((event) => eventText(event)));
            const ids = JSON.stringify(events.map(({ event_id }) => event_id));
            const rows = await database.sql`
            select event_id, user_id, event_type from raw_events
            where event_id in (select jsonb_array_elements_text(${ids}::text::jsonb))`;
            expect(rows.map((row) => ({ ...row })).toSorted(byId)).toEqual(events.toSorted(byId));
          },
        ),
        { numRuns: 40 },
      );
      await expectProven(database);
    });
  });

  describe("its times", () => {
    test("keep their microseconds and belong to their hour", async () => {
      const times = [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00.000001Z",
        "1999-12-31T23:59:59.999999Z",
        "2026-03-14T09:59:59.999999Z",
        "2026-03-14T09:26:53.589793Z",
        "2026-02-28T23:00:00.100000Z",
      ];
      const events = times.map((timestamp) => ({ event_id: freshId(), timestamp }));
      await writer.store(...events.map((event) => eventText(event)));
      for (const { event_id, timestamp } of events) {
        const [row] = await database.sql`
        select to_char("timestamp" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as timestamp
        from raw_events where event_id = ${event_id}`;
        expect(row).toMatchObject({ timestamp });
      }
      await expectProven(database);
    });

    test("are stored exactly from 1970 to 9999, in the hour of PostgreSQL's date_trunc", async () => {
      const instant = fc.tuple(
        fc.oneof(
          fc.integer({ min: 0, max: 253_402_300_799_999 }),
          fc
            .integer({ min: 0, max: 70_389_527 })
            .chain((hour) => fc.constantFrom(hour * HOUR_MS, (hour + 1) * HOUR_MS - 1)),
        ),
        fc.integer({ min: 0, max: 999 }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(instant, { minLength: 1, maxLength: 20 }), async (instants) => {
          const rows = await writer.worker.session.run((sql) =>
            sql.unsafe<{ micros: string; hour: string }[]>(
              `select (extract(epoch from t) * 1000000)::bigint::text as micros,
               (extract(epoch from date_trunc('hour', t, 'UTC')) / 3600)::int::text as hour
             from unnest($1::timestamptz[]) with ordinality as u (t, n) order by n`,
              [`{${instants.map(([ms, micros]) => formatTimestamp(ms, micros)).join(",")}}`],
            ),
          );
          expect(rows.map(({ micros, hour }) => [micros, hour])).toEqual(
            instants.map(([ms, micros]) => [
              String(BigInt(ms) * 1000n + BigInt(micros)),
              String(Math.floor(ms / HOUR_MS)),
            ]),
          );
        }),
        { numRuns: 30 },
      );
    });

    test("include the batch's clock as processed_at", async () => {
      const event_id = freshId();
      await writer.store(eventText({ event_id }));
      expect(
        await database.sql`select extract(epoch from processed_at)::float8 * 1000 as ms from raw_events where event_id = ${event_id}`,
      ).toMatchObject([{ ms: 1_773_480_413_589 }]);
    });
  });

  test("stores the rounded duration, or null without one", async () => {
    const durations: [sent: number | null | undefined, stored: string | null][] = [
      [0, "0"],
      [0.0004, "0"],
      [0.0005, "0.001"],
      [1.5, "1.5"],
      [0.1 + 0.2, "0.3"],
      [123_456_789.123, "123456789.123"],
      [999_999_999.999, "999999999.999"],
      [1e9, "1000000000"],
      [null, null],
      [undefined, null],
    ];
    const events = durations.map(([duration_seconds]) => ({ event_id: freshId(), duration_seconds }));
    await writer.store(...events.map((event) => eventText(event)));
    for (const [index, { event_id }] of events.entries()) {
      expect(
        await database.sql`select duration_seconds::text as stored from raw_events where event_id = ${event_id}`,
      ).toMatchObject([{ stored: durations[index]![1] }]);
    }
    await expectProven(database);
  });
});

describe("the new ids of insertByUnnest", () => {
  let database: TestDatabase;
  let worker: TestStore;

  beforeAll(async () => {
    database = await pipelineDatabase();
    worker = await openStore(database);
  });

  afterAll(async () => {
    await worker[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  const insert = (values: string[]) =>
    worker.session.transaction(5000, (tx) => insertByUnnest(tx, batchFrom(0, values).events, 0, false));

  test("are not listed when all are new", async () => {
    expect(
      await insert([eventText({ event_id: freshId() }), eventText({ event_id: freshId() })]),
    ).toBeUndefined();
    expect(await insert([])).toBeUndefined();
    await database.sql`truncate raw_events`;
  });

  test("are listed when some are new, and are an empty list when no event is new", async () => {
    const ids = AWKWARD_TEXTS.map((text) => `${text}${freshId()}`);
    const values = ids.map((event_id) => eventText({ event_id }));
    await insert(values.slice(0, 10));
    expect(await insert(values)).toEqual(new Set(ids.slice(10)));
    expect(await insert(values)).toEqual(new Set());
    await database.sql`truncate raw_events`;
  });
});

function byId(a: object, b: object): number {
  const [left, right] = [a, b].map((row) => (row as { event_id: string }).event_id);
  return left! < right! ? -1 : 1;
}
