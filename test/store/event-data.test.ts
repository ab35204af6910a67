import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { jsonObjectText } from "../pipeline/arbitrary-json.ts";
import { eventTextWith } from "../pipeline/record.ts";
import { expectProven } from "./pipeline-database.ts";
import { freshId, RawEventWriter, WAYS } from "./raw-event-writer.ts";

describe.each(WAYS)("event_data $how", ({ copyRawEvents }) => {
  let writer: RawEventWriter;

  beforeAll(async () => {
    writer = await RawEventWriter.open(copyRawEvents);
  });

  afterAll(() => writer[Symbol.asyncDispose]());

  /** Asserts that each text is stored as PostgreSQL reads it, and as JSON.parse does. */
  async function expectStored(eventType: string, texts: readonly string[]): Promise<void> {
    const events = texts.map((eventData) => ({ event_id: freshId(), eventData }));
    await writer.store(
      ...events.map(({ event_id, eventData }) =>
        eventTextWith(eventData, { event_id, event_type: eventType }),
      ),
    );
    for (const { event_id, eventData } of events) {
      const [row] = await writer.database.sql`
      select event_data = ${eventData}::text::jsonb as is_equal, event_data::text = (${eventData}::text::jsonb)::text as is_same,
        event_data::text as text
      from raw_events where event_id = ${event_id}`;
      expect({ eventData, ...row }).toMatchObject({ eventData, is_equal: true, is_same: true });
      expect(withoutMinusZero(JSON.parse(row!["text"] as string))).toEqual(
        withoutMinusZero(JSON.parse(eventData)),
      );
    }
  }

  test("is stored equal for any JSON object", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(jsonObjectText(), { minLength: 1, maxLength: 8 }), async (texts) => {
        await expectStored("page_view", texts);
      }),
      { numRuns: 60 },
    );
    await expectProven(writer.database);
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
    await writer.store(eventTextWith(`{"n":${digits}}`, { event_id }));
    const [row] = await writer.database
      .sql`select event_data ->> 'n' as n from raw_events where event_id = ${event_id}`;
    // PostgreSQL has no minus zero; all other digits stay, trailing zeros too.
    expect(row).toMatchObject({ n: digits === "-0.000" ? "0.000" : digits });
  });

  test.each<[text: string, stored: string]>([
    ['{"b":1,"a":2,"b":3}', '{"a": 2, "b": 3}'],
    ['{"a":1,"\\u0061":2}', '{"a": 2}'],
    ['{"\\u00e9\\ud83d\\ude00":"\\/\\t\\u001e"}', '{"é😀": "/\\t\\u001e"}'],
    ['{"":{"":[]}}', '{"": {"": []}}'],
  ])("is stored as jsonb reads it: %s", async (text, stored) => {
    const event_id = freshId();
    await writer.store(eventTextWith(text, { event_id }));
    expect(
      await writer.database.sql`select event_data::text as text from raw_events where event_id = ${event_id}`,
    ).toMatchObject([{ text: stored }]);
  });

  test("is stored at the maximum depth", async () => {
    const depth = 98;
    await expectStored("page_view", [`{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`]);
  });

  test("is stored at the size of a megabyte", async () => {
    await expectStored("page_view", [`{"a":"${"é".repeat(500_000)}"}`, `{"a":[${"0,".repeat(400_000)}0]}`]);
  });

  test("has the flag of the pipeline for a purchase, not of the producer", async () => {
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
      await writer.store(eventTextWith(eventData, { event_id, event_type: "purchase" }));
      const [row] = await writer.database.sql`select event_data from raw_events where event_id = ${event_id}`;
      expect(row!["event_data"]).toEqual(stored);
    }
  });
});

/** PostgreSQL's numeric has no minus zero. */
function withoutMinusZero(value: unknown): unknown {
  if (typeof value === "number") return value + 0;
  if (Array.isArray(value)) return value.map(withoutMinusZero);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutMinusZero(member)]));
}
