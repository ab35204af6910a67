import { describe, expect, test } from "bun:test";
import { SpacedPace, SteadyPace, unlimitedPace } from "../../shared/producer/rate-limiter.ts";
import type { Pace } from "../../shared/producer/rate-limiter.ts";

/** Takes whatever may go at each of these moments. */
function taken(pace: Pace, momentsMs: readonly number[]): number {
  let count = 0;
  for (const now of momentsMs) while (pace.take(now)) count++;
  return count;
}

function every(stepMs: number, untilMs: number): number[] {
  return Array.from({ length: Math.floor(untilMs / stepMs) + 1 }, (_, index) => index * stepMs);
}

describe("a steady pace", () => {
  test.each([
    [100_000, 4],
    [1000, 5],
    [333.3, 7],
    [2, 100],
  ])("%d a second is right on average, looked at every %d ms", (rate, stepMs) => {
    const seconds = 10;
    const count = taken(new SteadyPace(rate), every(stepMs, seconds * 1000));
    expect(Math.abs(count - rate * seconds)).toBeLessThanOrEqual(Math.max(2, rate * (stepMs / 1000)));
  });

  test("keeps its average when the clock ticks unevenly", () => {
    const moments: number[] = [];
    for (let now = 0, n = 0; now < 10_000; now += [1, 17, 4, 230][n++ % 4]!) moments.push(now);
    const last = moments.at(-1)!;
    expect(taken(new SteadyPace(5000), moments)).toBe(1 + Math.floor(last * 5));
  });

  test("lets the first go at once and says how long until the next", () => {
    const pace = new SteadyPace(10);
    expect(pace.take(0)).toBe(true);
    expect(pace.take(0)).toBe(false);
    expect(pace.waitMs(0)).toBe(100);
    expect(pace.waitMs(60)).toBe(40);
    expect(pace.take(100)).toBe(true);
  });

  test("catches up at most a second after a stop of minutes", () => {
    const pace = new SteadyPace(1000);
    taken(pace, [0]);
    expect(taken(pace, [300_000])).toBe(1000);
  });

  test("slower than one a second still goes on after a long wait", () => {
    const pace = new SteadyPace(0.1);
    expect(taken(pace, [0])).toBe(1);
    expect(taken(pace, [9_999])).toBe(0);
    expect(taken(pace, [10_000])).toBe(1);
  });
});

describe("a spaced pace", () => {
  test("waits for each interval in turn, from when the record was due", () => {
    const intervals = [1, 0.5, 2];
    const pace = new SpacedPace(() => intervals.shift() ?? 100);
    expect(pace.take(0)).toBe(true);
    expect(pace.waitMs(0)).toBe(1000);
    expect(pace.take(999)).toBe(false);
    expect(pace.take(1200)).toBe(true); // 200 ms late; the next is due at 1500 all the same
    expect(pace.take(1499)).toBe(false);
    expect(pace.take(1500)).toBe(true);
    expect(pace.waitMs(1500)).toBe(2000);
  });

  test("catches up at most a second", () => {
    const pace = new SpacedPace(() => 0.1);
    expect(taken(pace, [0])).toBe(1);
    expect(taken(pace, [60_000])).toBe(11);
  });
});

test("without a limit there is no wait", () => {
  expect(unlimitedPace.take(0)).toBe(true);
  expect(unlimitedPace.waitMs(0)).toBe(0);
});
