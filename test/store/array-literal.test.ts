import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Session } from "../../shared/store/session.ts";
import { bytesArray, numberArray, textArray } from "../../shared/store/array-literal.ts";
import { type TestDatabase, sharedPostgres } from "../support/postgres.ts";
import { openSession } from "./pipeline-database.ts";

let database: TestDatabase;
let session: Session;

beforeAll(async () => {
  database = await (await sharedPostgres()).database();
  session = await openSession(database);
});

afterAll(async () => {
  session.destroy();
  await database[Symbol.asyncDispose]();
});

/** The elements as PostgreSQL reads them, each as text. */
async function elements(literal: string, type: string): Promise<(string | null)[]> {
  const rows = await session.sql.unsafe<{ element: string | null }[]>(
    `select element::text as element from unnest($1::${type}[]) with ordinality as u (element, n) order by n`,
    [literal],
  );
  return rows.map(({ element }) => element);
}

describe("a text array", () => {
  const storable = fc
    .string({ unit: "binary", maxLength: 12 })
    .filter((text) => text.isWellFormed() && !text.includes("\0"));

  test("is read back unchanged for any text", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(storable, fc.constantFrom("", "NULL", "null", '"', "\\", "{", "}", ",", '","', " ")),
          { maxLength: 12 },
        ),
        async (texts) => {
          expect(await elements(textArray(texts), "text")).toEqual(texts);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("equals the quoted one when no text needs quoting", async () => {
    const texts = ["a", "", "NULL", "a,b", "{c}", " d ", "\n", "é", "😀"];
    expect(textArray(texts, true)).toBe(textArray(texts));
    expect(await elements(textArray(texts, true), "text")).toEqual(texts);
    expect(textArray([], true)).toBe("{}");
  });
});

test("a number array is read back unchanged, large numbers and nulls included", async () => {
  expect(await elements(numberArray([0, -1, Number.MAX_SAFE_INTEGER, undefined]), "bigint")).toEqual([
    "0",
    "-1",
    "9007199254740991",
    null,
  ]);
  expect(await elements(numberArray([2n ** 70n, 0n]), "numeric")).toEqual(["1180591620717411303424", "0"]);
  expect(await elements(numberArray([0.001, 1e-7, 1e21, 999_999_999.999, undefined]), "float8")).toEqual([
    "0.001",
    "1e-07",
    "1e+21",
    "999999999.999",
    null,
  ]);
  expect(await elements(numberArray([]), "int")).toEqual([]);
});

test("a bytea array is read back unchanged, empty values and nulls included", async () => {
  const bytes = fc.option(fc.uint8Array({ maxLength: 20 }), { nil: undefined });
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 10 }), async (values) => {
      expect(await elements(bytesArray(values), "bytea")).toEqual(
        values.map((value) => (value === undefined ? null : `\\x${Buffer.from(value).toString("hex")}`)),
      );
    }),
    { numRuns: 100, examples: [[[undefined, new Uint8Array(), Uint8Array.of(0, 255, 34, 92)]]] },
  );
});
