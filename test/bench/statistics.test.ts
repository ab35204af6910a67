import { describe, expect, test } from "bun:test";
import { median, quantile, slope } from "../../bench/statistics.ts";

describe("the statistics of the bench", () => {
  test("have the middle value as the median, or the mean of the middle two", () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 3, 10])).toBe(3.5);
  });

  test("have as a quantile the smallest value that so many values do not exceed", () => {
    const values = Array.from({ length: 200 }, (_, index) => 200 - index);
    expect(quantile(values, 0.5)).toBe(100);
    expect(quantile(values, 0.99)).toBe(198);
    expect(quantile(values, 1)).toBe(200);
    expect(quantile([7], 0.01)).toBe(7);
  });

  test("find the slope of points on a line, and of points around it", () => {
    expect(
      slope([
        [0, 100],
        [1, 103],
        [2, 106],
      ]),
    ).toBeCloseTo(3, 10);
    expect(
      slope([
        [0, 1],
        [1, -1],
        [2, -1],
        [3, 1],
      ]),
    ).toBeCloseTo(0, 10);
    // y = 2x with errors that cancel out
    expect(
      slope([
        [0, 1],
        [1, 1],
        [2, 3],
        [3, 7],
      ]),
    ).toBeCloseTo(2, 10);
    expect(slope([[5, 5]])).toBe(0);
  });
});
