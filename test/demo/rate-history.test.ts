import { describe, expect, test } from "bun:test";
import { RateHistory } from "../../workers/demo/rate-history.ts";

describe("a rate history", () => {
  test("has the rate of the last two seconds, and that of each second", () => {
    const history = new RateHistory();
    for (let tick = 0; tick <= 100; tick++) history.add(tick * 100, tick * 50);
    expect([history.total, history.rate]).toEqual([5000, 500]);
    for (let tick = 1; tick <= 20; tick++) history.add(10_000 + tick * 100, 5000);
    expect([history.total, history.rate]).toEqual([5000, 0]);
    expect(history.seconds).toEqual([...Array.from({ length: 10 }, () => 500), 0, 0]);
  });

  test("is 0 before there are two samples to compare", () => {
    const history = new RateHistory();
    expect([history.total, history.rate]).toEqual([0, 0]);
    history.add(5, 100);
    expect([history.total, history.rate]).toEqual([100, 0]);
    history.add(5, 200);
    expect(history.rate).toBe(0);
  });

  test("keeps a bounded number of seconds", () => {
    const history = new RateHistory();
    for (let second = 0; second < 2000; second++) history.add(second * 1000, second);
    expect(history.seconds.length).toBeLessThanOrEqual(400);
  });
});
