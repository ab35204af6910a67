import { describe, expect, test } from "bun:test";
import { bar, sparkline } from "../../workers/demo/bars.ts";

describe("a sparkline", () => {
  test("has the newest value on the right", () => {
    expect(sparkline([8, 1, 2, 3], 3, 8)).toBe("▁▂▃");
    expect(sparkline([4, 8], 5, 8)).toBe("   ▄█");
  });

  test("draws small values as the lowest cell and large ones as the highest", () => {
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

  test("is never too long, and never empty for a value above 0", () => {
    expect(bar(1_000_000, 4, 100)).toBe("████");
    expect(bar(0.001, 4, 100)).toBe("▏");
    expect(bar(0, 4, 100)).toBe("");
    expect(bar(5, 0, 100)).toBe("");
  });
});
