import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import { formatTimestamp } from "../../shared/pipeline/timestamp.ts";
import { insertByUnnest } from "../../shared/store/raw-events.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { jsonObjectText } from "../pipeline/arbitrary-json.ts";
import { eventText, eventTextWith } from "../pipeline/record.ts";
import {
  batchFrom,
  enter,
  expectProven,
  openStore,
  pipelineDatabase,
  rowCounts,
  type TestStore,
} from "./pipeline-database.ts";

const freshId = () => `event_${crypto.randomUUID()}`;

/** What text can hold and a careless writer of SQL arrays loses. */
const NASTY = [
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

describe.each([
  { how: "by COPY", copyRawEvents: true },
  { how: "by unnest", copyRawEvents: false },
])("$how", ({ copyRawEvents }) => {
  let database: TestDatabase;
  let worker: TestStore;
  let nextOffset = 0;

  beforeAll(async () => {
    database = await pipelineDatabase();
    worker = await openStore(database, { copyRawEvents });
    await enter(worker.session, 1);
  });

  afterAll(async () => {
    await worker[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  /** Commits these values as one batch; every one of them must become a raw event. */
  async function store(...values: string[]): Promise<void> {
    const batch = batchFrom(nextOffset, values);
    expect(batch.deadLetters().map(({ rejection }) => rejection)).toEqual([]);
    const { stored, copyFailed } = await worker.store.commit(batch);
    expect(stored).toHaveLength(values.length);
    expect(copyFailed).toBe(false);
    nextOffset += values.length;
  }

  describe("ids, users and types", () => {
    test("come back as they were, whatever they hold", async () => {
      await store(...NASTY.map((text) => eventText({ event_id: text, user_id: text, event_type: text })));
      const rows =
        await database.sql`select event_id, user_id, event_type from raw_events where event_id = user_id`;
      expect(rows.map((row) => ({ ...row })).toSorted(byId)).toEqual(
        NASTY.map((text) => ({ event_id: text, user_id: text, event_type: text })).toSorted(byId),
      );
      const users =
        await database.sql`select user_id from hourly_users where user_id = event_type order by 1`;
      expect(users.map(({ user_id }) => user_id as string).toSorted()).toEqual(NASTY.toSorted());
      await expectProven(database);
    });

    test("are known again, so that the same ids are duplicates", async () => {
      const before = (await rowCounts(database))["raw_events"];
      const batch = batchFrom(
        nextOffset,
        NASTY.map((text) => eventText({ event_id: text, user_id: "another" })),
      );
      // A session that remembers nothing of them.
      await using other = await openStore(database);
      expect((await other.store.commit(batch)).stored).toEqual([]);
      nextOffset += NASTY.length;
      expect((await rowCounts(database))["raw_events"]).toBe(before);
      await expectProven(database);
    });

    test("of the greatest lengths fit, in four bytes a character", async () => {
      const wide = "\u{10ffff}";
      await store(
        eventText({ event_id: wide.repeat(100), user_id: wide.repeat(100), event_type: wide.repeat(50) }),
      );
      const rows = await database.sql`
      select char_length(event_id) as id, char_length(user_id) as "user", char_length(event_type) as type
      from raw_events where event_id = ${wide.repeat(100)}`;
      expect(rows).toMatchObject([{ id: 100, user: 100, type: 50 }]);
    });

    test("of any text: what validate accepts can be stored, and equal bytes are equal ids", async () => {
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
            await store(...events.map((event) => eventText(event)));
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

  describe("event_data", () => {
    /** Asserts that each text is stored as PostgreSQL itself reads it, and as JSON.parse does. */
    async function expectStored(eventType: string, texts: readonly string[]): Promise<void> {
      const events = texts.map((eventData) => ({ event_id: freshId(), eventData }));
      await store(
        ...events.map(({ event_id, eventData }) =>
          eventTextWith(eventData, { event_id, event_type: eventType }),
        ),
      );
      for (const { event_id, eventData } of events) {
        const [row] = await database.sql`
        select event_data = ${eventData}::text::jsonb as is_equal, event_data::text = (${eventData}::text::jsonb)::text as is_same,
          event_data::text as text
        from raw_events where event_id = ${event_id}`;
        expect({ eventData, ...row }).toMatchObject({ eventData, is_equal: true, is_same: true });
        expect(withoutMinusZero(JSON.parse(row!["text"] as string))).toEqual(
          withoutMinusZero(JSON.parse(eventData)),
        );
      }
    }

    test("of any JSON object comes back equal", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(jsonObjectText(), { minLength: 1, maxLength: 8 }), async (texts) => {
          await expectStored("page_view", texts);
        }),
        { numRuns: 60 },
      );
      await expectProven(database);
    });

    test.each([
      "1.50",
      "100",
      "0.10",
      "-0.000",
      "12345678901234567890.123456789012345678901234567890",
      "9007199254740993",
      "0.1000000000000000055511151231257827021181583404541015625",
      `1${"0".repeat(400)}`,
      `0.${"0".repeat(400)}1`,
    ])("keeps the digits of %s", async (digits) => {
      const event_id = freshId();
      await store(eventTextWith(`{"n":${digits}}`, { event_id }));
      const [row] =
        await database.sql`select event_data ->> 'n' as n from raw_events where event_id = ${event_id}`;
      // PostgreSQL has no minus zero; every other digit stays, trailing zeros too.
      expect(row).toMatchObject({ n: digits === "-0.000" ? "0.000" : digits });
    });

    test.each<[text: string, stored: string]>([
      ['{"b":1,"a":2,"b":3}', '{"a": 2, "b": 3}'],
      ['{"a":1,"\\u0061":2}', '{"a": 2}'],
      ['{"\\u00e9\\ud83d\\ude00":"\\/\\t\\u001e"}', '{"é😀": "/\\t\\u001e"}'],
      ['{"":{"":[]}}', '{"": {"": []}}'],
    ])("%s", async (text, stored) => {
      const event_id = freshId();
      await store(eventTextWith(text, { event_id }));
      expect(
        await database.sql`select event_data::text as text from raw_events where event_id = ${event_id}`,
      ).toMatchObject([{ text: stored }]);
    });

    test("nested as deep as records may be", async () => {
      const depth = 98;
      await expectStored("page_view", [`{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`]);
    });

    test("of a megabyte", async () => {
      await expectStored("page_view", [`{"a":"${"é".repeat(500_000)}"}`, `{"a":[${"0,".repeat(400_000)}0]}`]);
    });

    test("of a purchase tells its high value, whatever the producer sent", async () => {
      const cases: [eventData: string, stored: object][] = [
        ['{"amount":150}', { amount: 150, is_high_value: true }],
        ['{"amount":100}', { amount: 100, is_high_value: false }],
        ['{ "amount" : 150 , "is_high_value" : "no" }', { amount: 150, is_high_value: true }],
        ['{"is_high\\u005fvalue":true,"amount":1}', { amount: 1, is_high_value: false }],
        ['{"amount":"150"}', { amount: "150" }],
        ["{}", {}],
      ];
      for (const [eventData, stored] of cases) {
        const event_id = freshId();
        await store(eventTextWith(eventData, { event_id, event_type: "purchase" }));
        const [row] = await database.sql`select event_data from raw_events where event_id = ${event_id}`;
        expect(row!["event_data"]).toEqual(stored);
      }
    });
  });

  describe("times", () => {
    test("timestamps keep their microseconds, and land in their hour", async () => {
      const times = [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:00.000001Z",
        "1999-12-31T23:59:59.999999Z",
        "2026-03-14T09:59:59.999999Z",
        "2026-03-14T09:26:53.589793Z",
        "2026-02-28T23:00:00.100000Z",
      ];
      const events = times.map((timestamp) => ({ event_id: freshId(), timestamp }));
      await store(...events.map((event) => eventText(event)));
      for (const { event_id, timestamp } of events) {
        const [row] = await database.sql`
        select to_char("timestamp" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as timestamp
        from raw_events where event_id = ${event_id}`;
        expect(row).toMatchObject({ timestamp });
      }
      await expectProven(database);
    });

    test("any instant of the years 1970 to 9999 is stored as it is, and its hour as PostgreSQL cuts it", async () => {
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
          const rows = await worker.session.run((sql) =>
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

    test("processed_at is the clock that the batch was opened by", async () => {
      const event_id = freshId();
      await store(eventText({ event_id }));
      expect(
        await database.sql`select extract(epoch from processed_at)::float8 * 1000 as ms from raw_events where event_id = ${event_id}`,
      ).toMatchObject([{ ms: 1_773_480_413_589 }]);
    });
  });

  test("durations are stored as they were rounded, null where there is none", async () => {
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
    await store(...events.map((event) => eventText(event)));
    for (const [index, { event_id }] of events.entries()) {
      expect(
        await database.sql`select duration_seconds::text as stored from raw_events where event_id = ${event_id}`,
      ).toMatchObject([{ stored: durations[index]![1] }]);
    }
    await expectProven(database);
  });
});

describe("which ids were new", () => {
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

  test("all: nothing is listed", async () => {
    expect(
      await insert([eventText({ event_id: freshId() }), eventText({ event_id: freshId() })]),
    ).toBeUndefined();
    expect(await insert([])).toBeUndefined();
    await database.sql`truncate raw_events`;
  });

  test("some: those; none: an empty set", async () => {
    const ids = NASTY.map((text) => `${text}${freshId()}`);
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

/** PostgreSQL's numeric has no minus zero. */
function withoutMinusZero(value: unknown): unknown {
  if (typeof value === "number") return value + 0;
  if (Array.isArray(value)) return value.map(withoutMinusZero);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutMinusZero(member)]));
}
