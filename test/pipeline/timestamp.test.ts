import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatTimestamp, parseTimestamp } from "../../shared/pipeline/timestamp.ts";

const MAX_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** The text as microseconds since 1970: a pattern checks the grammar, Temporal the calendar and the zone. */
const ISO =
  /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::(?<second>\d\d)(?:[.,](?<fraction>\d+))?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)$/;
function microsByTemporal(text: string): bigint | undefined {
  const parts = ISO.exec(text)?.groups;
  // Temporal reads a leap second as the second before it, and takes at most 9 digits of a fraction.
  if (parts === undefined || parts["second"] === "60") return undefined;
  const { fraction = "" } = parts;
  const atMost9Digits = fraction.length > 9 ? text.replace(fraction, fraction.slice(0, 9)) : text;
  let nanoseconds: bigint;
  try {
    nanoseconds = Temporal.Instant.from(atMost9Digits).epochNanoseconds;
  } catch {
    return undefined;
  }
  const isInRange = nanoseconds >= 0n && nanoseconds < BigInt(MAX_MS + 1) * 1_000_000n;
  return isInRange ? nanoseconds / 1000n : undefined;
}

function micros(text: string): bigint | undefined {
  const instant = parseTimestamp(text);
  return instant && BigInt(instant.ms) * 1000n + BigInt(instant.micros);
}

describe("parseTimestamp on a timestamp", () => {
  const at = (iso: string, extraMicros = 0) => ({ ms: Date.parse(iso), micros: extraMicros });
  test.each([
    ["2026-03-14T09:26:53Z", at("2026-03-14T09:26:53Z")],
    ["2026-03-14T09:26Z", at("2026-03-14T09:26:00Z")],
    ["2026-03-14 09:26:53z", at("2026-03-14T09:26:53Z")],
    ["2026-03-14t09:26:53,5Z", at("2026-03-14T09:26:53.500Z")],
    ["2026-03-14T09:26:53.589793Z", at("2026-03-14T09:26:53.589Z", 793)],
    ["2026-03-14T09:26:53.000001Z", at("2026-03-14T09:26:53.000Z", 1)],
    ["2026-03-14T09:26:53+00", at("2026-03-14T09:26:53Z")],
    ["2026-03-14T09:26:53-00:00", at("2026-03-14T09:26:53Z")],
    ["2026-03-14T09:26:53+0530", at("2026-03-14T03:56:53Z")],
    ["2026-03-14T09:26:53-03:30", at("2026-03-14T12:56:53Z")],
    ["2026-03-14T00:10:00+23:59", at("2026-03-13T00:11:00Z")],
    ["2026-03-14T00:10:00-23:59", at("2026-03-15T00:09:00Z")],
    // leap days: every fourth year, and every fourth century
    ["2024-02-29T00:00:00Z", at("2024-02-29T00:00:00Z")],
    ["2000-02-29T00:00:00Z", at("2000-02-29T00:00:00Z")],
    ["2400-02-29T00:00:00Z", at("2400-02-29T00:00:00Z")],
    // the first and the last instants, also by their zone
    ["1970-01-01T00:00:00Z", at("1970-01-01T00:00:00Z")],
    ["1969-12-31T23:00:00-01:00", at("1970-01-01T00:00:00Z")],
    ["9999-12-31T23:59:59.999999Z", at("9999-12-31T23:59:59.999Z", 999)],
    ["9999-12-31T23:59:59.9999999999Z", at("9999-12-31T23:59:59.999Z", 999)],
  ])("reads it to the microsecond: %s", (text, instant) => {
    expect(parseTimestamp(text)).toEqual(instant);
  });

  test.each([
    ["2026-01-01T00:59:59.9999999Z", 999_999],
    ["2026-01-01T00:59:59.0000009Z", 0],
    ["2026-01-01T00:59:59.1234569999999999999999Z", 123_456],
    [`2026-01-01T00:59:59.${"9".repeat(400)}Z`, 999_999],
    [`2026-01-01T00:59:59.${"0".repeat(400)}1Z`, 0],
  ])("cuts its fraction, and never rounds into the next hour: %s", (text, fractionMicros) => {
    expect(micros(text)).toBe(BigInt(Date.parse("2026-01-01T00:59:59Z")) * 1000n + BigInt(fractionMicros));
  });
});

describe("parseTimestamp on other text", () => {
  /** Date.parse reads each of these as some instant. */
  const misreadByDateParse = [
    "2026-02-30T00:00:00Z",
    "2026-02-29T12:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T10:00:00",
    "2026-01-01",
    "2026-01",
    "2026",
    "1",
    "Jan 1 2026 GMT",
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "2026-01-01 00:00:00",
    "Jan 1 2026 00:00:00 GMT (comment)",
    "+002026-01-01T00:00:00Z",
    "-000001-01-01T00:00:00Z",
    "+010000-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999Z",
  ];
  test.each(misreadByDateParse)("refuses what Date.parse misreads: %s", (text) => {
    expect(Date.parse(text)).not.toBeNaN();
    expect(parseTimestamp(text)).toBeUndefined();
  });

  test.each([
    "",
    "Z",
    "now",
    "infinity",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-01-32T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2100-02-29T00:00:00Z",
    "2026-01-01T25:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z",
    "2016-12-31T23:59:60Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00.12a4Z",
    "2026-01-01T00:00.5Z",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00+00:60",
    "2026-01-01T00:00:00+0",
    "2026-01-01T00:00:00+000",
    "2026-01-01T00:00:00+00:0",
    "2026-01-01T00:00:00+00:000",
    "2026-01-01T00:00:00+00:00:00",
    "2026-01-01T00:00:00+1 ",
    "2026-01-01T00:00:00 Z",
    "2026-01-01T00:00Z (comment)",
    "2026-01-01T00:00:00ZZ",
    "2026-01-01T00:00:00Z ",
    " 2026-01-01T00:00:00Z",
    "2026-01-01T00:00:00Z\n",
    "2026-01-01T00:00:00Z\0",
    "2026-01-01_00:00:00Z",
    "2026/01/01T00:00:00Z",
    "2026-01-01T00-00:00Z",
    "2026-1-1T0:0:0Z",
    "202６-01-01T00:00:00Z",
    "٢٠٢٦-01-01T00:00:00Z",
    "2026-01-01T00:00:00−01:00",
    "2026-001T00:00:00Z",
    "2026-W01-1T00:00:00Z",
    "20260101T000000Z",
    "1970-01-01T00:59:59+01:00",
    "9999-12-31T23:59:59-00:01",
    "9999-12-31T24:00:00Z",
  ])("refuses %j", (text) => {
    expect(parseTimestamp(text)).toBeUndefined();
  });
});

/** Texts that are often a timestamp, and often almost one. */
const nearlyTimestamp = fc
  .tuple(
    fc
      .oneof(fc.integer({ min: 1968, max: 2110 }), fc.integer({ min: 0, max: 9999 }))
      .map((n) => digits(n, 4)),
    fc.integer({ min: 0, max: 13 }).map((n) => digits(n, 2)),
    fc.oneof(fc.integer({ min: 27, max: 32 }), fc.integer({ min: 0, max: 32 })).map((n) => digits(n, 2)),
    fc.constantFrom("T", "t", " ", "_"),
    fc.integer({ min: 0, max: 24 }).map((n) => digits(n, 2)),
    fc.integer({ min: 0, max: 60 }).map((n) => digits(n, 2)),
    fc.oneof(
      fc.constant(""),
      fc
        .tuple(
          fc.integer({ min: 0, max: 60 }),
          fc.oneof(fc.constant(""), fc.stringMatching(/^[.,]\d{0,12}$/)),
        )
        .map(([second, fraction]) => `:${digits(second, 2)}${fraction}`),
    ),
    fc.oneof(fc.constantFrom("Z", "z", "", "+00"), fc.stringMatching(/^[+-][012]\d(?::?[0-6]\d)?$/)),
  )
  .map(([year, month, day, separator, hour, minute, second, zone]) =>
    [year, "-", month, "-", day, separator, hour, ":", minute, second, zone].join(""),
  );

describe("the calendar of timestamps", () => {
  test("agrees with Temporal on texts that are almost timestamps", () => {
    let accepted = 0;
    fc.assert(
      fc.property(nearlyTimestamp, (text) => {
        const expected = microsByTemporal(text);
        if (expected !== undefined) accepted++;
        expect(micros(text)).toBe(expected);
      }),
      { numRuns: 5000 },
    );
    // Valid and invalid texts have both been tried.
    expect(accepted).toBeGreaterThan(500);
    expect(accepted).toBeLessThan(4500);
  });

  test("agrees with Date on every day of 400 years, after which it repeats", () => {
    let wrong = 0;
    for (let ms = 0; ms < Date.UTC(2371); ms += 86_400_000) {
      if (parseTimestamp(new Date(ms).toISOString())?.ms !== ms) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("is read back from formatted timestamps to the microsecond", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: MAX_MS }),
        fc.integer({ min: 0, max: 999 }),
        (ms, extraMicros) => {
          expect(parseTimestamp(formatTimestamp(ms, extraMicros))).toEqual({ ms, micros: extraMicros });
        },
      ),
      { numRuns: 2000 },
    );
  });
});

function digits(n: number, width: number): string {
  return String(n).padStart(width, "0");
}
