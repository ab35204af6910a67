import { describe, expect, test } from "bun:test";
import {
  bytes,
  clock,
  compact,
  count,
  duration,
  hour,
  percent,
  plural,
  printable,
  rate,
  time,
  UNKNOWN,
} from "../../shared/text/format.ts";

describe("a figure", () => {
  test("a count has separators and no decimals", () => {
    expect([0, 1_234_567, 999.6, 12_345n].map(count)).toEqual(["0", "1,234,567", "1,000", "12,345"]);
  });

  test("a figure that is not known is a dash", () => {
    expect([count(null), count(undefined), duration(null), rate(undefined)]).toEqual(
      Array.from({ length: 4 }, () => UNKNOWN),
    );
  });

  test("a compact number is short", () => {
    expect([999, 1_500, 2_000_000].map(compact)).toEqual(["999", "1.5K", "2M"]);
  });

  test("a rate below ten keeps a decimal", () => {
    expect([0, 0.5, 9.94, 9.96, 12_345.6].map(rate)).toEqual(["0", "0.5", "9.9", "10", "12,346"]);
  });

  test("a percentage has at most one decimal", () => {
    expect([0, 0.005, 0.05, 0.1234, 1].map(percent)).toEqual(["0 %", "0.5 %", "5 %", "12.3 %", "100 %"]);
  });

  test("a noun has its plural unless the number reads 1", () => {
    expect([0, 1, 1.2, 2, 1n].map((value) => plural(value, "record"))).toEqual([
      "0 records",
      "1 record",
      "1 record",
      "2 records",
      "1 record",
    ]);
  });
});

describe("a time or a size", () => {
  test("a duration is in the unit that suits it", () => {
    const read: Record<string, number> = {
      "0 s": 0,
      "400 µs": 0.0004,
      "1.0 ms": 0.000_999_6,
      "9.9 ms": 0.0099,
      "18 ms": 0.018,
      "999 ms": 0.9994,
      "1.0 s": 0.9996,
      "1.4 s": 1.44,
      "95 s": 95.2,
      "2.0 min": 120,
      "2.0 h": 7200,
      "2.0 d": 172_800,
    };
    expect(Object.values(read).map(duration)).toEqual(Object.keys(read));
  });

  test("elapsed time reads like a clock", () => {
    const read = { "0:00": 999, "0:59": 59_999, "1:00": 60_000, "59:59": 3_599_000, "1:00:00": 3_600_000 };
    expect(Object.values(read).map(clock)).toEqual(Object.keys(read));
  });

  test("an instant is in UTC and has its date on another day", () => {
    const noon = Date.UTC(2026, 2, 14, 12);
    expect(time(noon, noon + 1000)).toBe("12:00:00");
    expect(time(noon, noon + 86_400_000)).toBe("2026-03-14 12:00:00");
    expect(hour(noon)).toBe("2026-03-14 12:00");
  });

  test("a size is in decimal units", () => {
    const read = {
      "512 B": 512,
      "1.0 kB": 1000,
      "8.2 MB": 8_200_000,
      "48 MB": 48_300_000,
      "1.0 GB": 999_600_000,
    };
    expect(Object.values(read).map(bytes)).toEqual(Object.keys(read));
  });
});

describe("text from outside", () => {
  test("a character that is invisible or steers the terminal becomes its code", () => {
    expect(printable("a\u0000b\u202ec\u200bd\u{e0041}e\r\u2028\u001b[31m\ud800")).toBe(
      String.raw`a\u{0}b\u{202e}c\u{200b}d\u{e0041}e\u{d}\u{2028}\u{1b}[31m\u{d800}`,
    );
  });

  test("every other character stays, and so do those that are kept", () => {
    expect(printable("grüße 😀 日本", "")).toBe("grüße 😀 日本");
    expect(printable("a\n\tb\r", "\n\t")).toBe("a\n\tb\\u{d}");
  });
});
