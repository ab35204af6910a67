import { expect, test } from "bun:test";
import fc from "fast-check";
import { MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { MAX_DIGITS, writtenDigits } from "../../shared/pipeline/number-size.ts";
import { eventTextWith, eventWithId } from "../pipeline/record.ts";
import { writtenOut } from "../pipeline/plain-reader.ts";
import { batchFrom, expectProven, freshStore } from "./pipeline-database.ts";

const number = fc
  .tuple(
    fc.constantFrom("", "-"),
    fc.oneof(fc.constantFrom("0", "1", "10"), fc.stringMatching(/^[1-9]\d{0,30}$/)),
    fc.oneof(fc.constantFrom("", ".0", ".50"), fc.stringMatching(/^\.0{0,20}\d{1,20}$/)),
    fc.oneof(
      fc.constantFrom("", "e0", "E-0", "e+007"),
      fc.integer({ min: -50, max: 50 }).map((exponent) => `e${exponent}`),
      fc.integer({ min: -1100, max: 1100 }).map((exponent) => `E${exponent}`),
    ),
  )
  .map((parts) => parts.join(""));

test("the digits of a number are counted as PostgreSQL writes it", async () => {
  await using worker = await freshStore();
  const numbers = fc.sample(number, 5000);
  const rows = await worker.database.sql<{ written: string }[]>`
    select (number::jsonb)::text as written from unnest(${numbers}::text[]) with ordinality as n (number, place) order by place`;
  for (const [index, { written }] of rows.entries()) {
    const text = numbers[index]!;
    const digits = written.replaceAll(/\D/g, "");
    expect([text, writtenDigits(Buffer.from(text), 0, text.length)]).toEqual([text, digits.length]);
    // The oracle of the readers, too.
    expect([text, writtenOut(text)]).toEqual([text, digits]);
  }
});

test("an event whose numbers all have the most digits is stored, and its row can be read as text", async () => {
  await using worker = await freshStore();
  const count = Math.floor((MAX_VALUE_BYTES - 300) / "1e999,".length);
  const event = eventTextWith(`{"n":[${Array(count).fill("1e999").join()}]}`);
  const batch = batchFrom(0, [event]);
  expect(batch.rejected.places()).toEqual([]);
  await worker.store.commit(batch);
  const [row] = await worker.database.sql<[{ length: string }]>`
    select length(event_data::text) from raw_events`;
  expect(Number(row.length)).toBeGreaterThan(count * MAX_DIGITS);
  // What pg_dump reads. With longer numbers it ends here: a text has 1 GiB at most.
  await worker.database.sql`copy raw_events to '/dev/null'`;
});

test.each([
  ["far too many", Array(9000).fill("1e131071").join()],
  ["one too many before the point", "1e1000"],
  ["one too many behind it", '{"deep":[1e-1000]}'],
  ["one too many, written out", "7".repeat(1001)],
  ["more than PostgreSQL takes", "1e131072"],
  ["more than PostgreSQL takes behind the point", "1e-16384"],
  ["an exponent that PostgreSQL refuses of a zero", "0e1073741824"],
])("an event with a number of too many digits becomes a dead letter: %s", async (_what, numbers) => {
  await using worker = await freshStore();
  const { database, store } = worker;
  await store.commit(batchFrom(0, [eventWithId("good"), eventTextWith(`{"n":[${numbers}]}`)]));
  expect(await database.sql`select "offset", stage, reason, error from dead_letter_events`).toMatchObject([
    {
      offset: "1",
      stage: "validate",
      reason: "out_of_range",
      error: "event_data: a number has more than 1000 digits when written out",
    },
  ]);
  await expectProven(database);
});
