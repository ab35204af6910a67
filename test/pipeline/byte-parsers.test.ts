import { expect, test } from "bun:test";
import fc from "fast-check";
import { decimalAt, instantAt, numberAt, stringAt } from "../../shared/pipeline/byte-parsers.ts";
import { parseTimestamp } from "../../shared/pipeline/timestamp.ts";
import { jsonNumber, jsonString } from "./arbitrary-json.ts";

test("a decimal of at most 15 digits is read from bytes as by JSON.parse, and a longer one is refused", () => {
  const digits = fc.stringMatching(/^\d{1,17}$/);
  const decimals = fc
    .tuple(fc.constantFrom("", "-"), digits, fc.option(digits, { nil: undefined }))
    .map(
      ([sign, whole, fraction]) => `${sign}${BigInt(whole)}${fraction === undefined ? "" : `.${fraction}`}`,
    );
  fc.assert(
    fc.property(decimals, (text) => {
      const isShort = text.replaceAll(/\D/g, "").length <= 15;
      expect(decimalAt(Buffer.from(`${text},`), 0)).toBe(isShort ? (JSON.parse(text) as number) : Number.NaN);
    }),
    { numRuns: 20_000 },
  );
});

test("a timestamp is read from bytes as from text", () => {
  const part = (digits: number, max: number) =>
    fc.integer({ min: 0, max }).map((value) => String(value).padStart(digits, "0"));
  const texts = fc
    .tuple(
      part(4, 9999).map((year) => `${year}-`),
      part(2, 13).map((month) => `${month}-`),
      part(2, 32),
      fc.constantFrom("T", "T", "t", " "),
      part(2, 24).map((hour) => `${hour}:`),
      part(2, 60).map((minute) => `${minute}:`),
      part(2, 60),
      fc.oneof(fc.constant(""), fc.stringMatching(/^[.,]\d{0,9}$/)),
      fc.constantFrom(
        "Z",
        "Z",
        "+00:00",
        "+00:00",
        "-00:00",
        "+01:00",
        "-0930",
        "z",
        "",
        "Z ",
        "+00:0",
        "+00:00 ",
      ),
    )
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(texts, (text) => {
      expect(instantAt(Buffer.from(`${text}"`), 0, text.length)).toEqual(parseTimestamp(text));
    }),
    { numRuns: 20_000 },
  );
});

test("a number is read from bytes as by JSON.parse, whatever follows it", () => {
  fc.assert(
    fc.property(jsonNumber, fc.constantFrom(",", "}", "]", " ", "\n"), (text, next) => {
      expect(numberAt(Buffer.from(`[${text}${next}`), 1)).toBe(JSON.parse(text) as number);
    }),
    { numRuns: 20_000 },
  );
});

test("a string is read from bytes as by JSON.parse", () => {
  fc.assert(
    fc.property(jsonString(), (text) => {
      const bytes = Buffer.from(`[${text}]`);
      expect(stringAt(bytes, 1, bytes.length - 1)).toBe(JSON.parse(text) as string);
    }),
    { numRuns: 2000 },
  );
});
