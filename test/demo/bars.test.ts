import { describe, expect, test } from "bun:test";
import { bar, sparkline } from "../../workers/demo/bars.ts";
import { bytes, clock, count, duration, perSecond, plural } from "../../workers/demo/figures.ts";

describe("a sparkline", () => {
  test("shows the newest values, from the right", () => {
    expect(sparkline([8, 1, 2, 3], 3, 8)).toBe("▁▂▃");
    expect(sparkline([4, 8], 5, 8)).toBe("   ▄█");
  });

  test("has a lowest and a highest cell", () => {
    expect(sparkline([0, 0.001, 7, 8, 900], 5, 8)).toBe("▁▁▇██");
    expect(sparkline([1, 2], 2, 0)).toBe("▁▁");
    expect(sparkline([1, 2], 0, 2)).toBe("");
  });
});

describe("a bar", () => {
  test("is exact to an eighth of a cell", () => {
    expect(bar(50, 4, 100)).toBe("██");
    expect(bar(53, 4, 100)).toBe("██▏");
    expect(bar(100, 4, 100)).toBe("████");
  });

  test("is never too long, and never empty for something", () => {
    expect(bar(1_000_000, 4, 100)).toBe("████");
    expect(bar(0.001, 4, 100)).toBe("▏");
    expect(bar(0, 4, 100)).toBe("");
    expect(bar(5, 0, 100)).toBe("");
  });
});

test("figures read as a person writes them", () => {
  expect([count(0), count(1234567), count(999.6)]).toEqual(["0", "1,234,567", "1,000"]);
  expect([perSecond(0), perSecond(0.5), perSecond(9.94), perSecond(9.96)]).toEqual([
    "0/s",
    "0.5/s",
    "9.9/s",
    "10/s",
  ]);
  expect([0.0004, 0.0099, 0.018, 0.9994, 0.9996, 1.44, 95.2].map(duration)).toEqual([
    "0.4 ms",
    "9.9 ms",
    "18 ms",
    "999 ms",
    "1.0 s",
    "1.4 s",
    "95 s",
  ]);
  expect([0, 999, 59_999, 60_000, 3_599_000, 3_600_000].map(clock)).toEqual([
    "0:00",
    "0:00",
    "0:59",
    "1:00",
    "59:59",
    "1:00:00",
  ]);
  expect([512, 8_200_000, 48_300_000, 999_600_000].map(bytes)).toEqual([
    "512 B",
    "8.2 MB",
    "48 MB",
    "1.0 GB",
  ]);
  expect([plural(1, "record"), plural(2, "record")]).toEqual(["1 record", "2 records"]);
});
