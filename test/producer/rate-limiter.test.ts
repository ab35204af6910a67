import { describe, expect, test } from "bun:test";
import { SpacedRateLimiter, SteadyRateLimiter, noRateLimit } from "../../shared/producer/rate-limiter.ts";
import type { RateLimiter } from "../../shared/producer/rate-limiter.ts";

/** @returns how many records may go at these moments together */
function taken(limiter: RateLimiter, momentsMs: readonly number[]): number {
  let count = 0;
  for (const now of momentsMs) while (limiter.take(now)) count++;
  return count;
}

function every(stepMs: number, untilMs: number): number[] {
  return Array.from({ length: Math.floor(untilMs / stepMs) + 1 }, (_, index) => index * stepMs);
}

describe("the steady rate limiter", () => {
  test.each([
    [100_000, 4],
    [1000, 5],
    [333.3, 7],
    [2, 100],
  ])("lets %d records a second go when asked every %d ms", (rate, stepMs) => {
    const seconds = 10;
    const count = taken(new SteadyRateLimiter(rate), every(stepMs, seconds * 1000));
    expect(Math.abs(count - rate * seconds)).toBeLessThanOrEqual(Math.max(2, rate * (stepMs / 1000)));
  });

  test("keeps its average when it is asked at uneven intervals", () => {
    const moments: number[] = [];
    for (let now = 0, n = 0; now < 10_000; now += [1, 17, 4, 230][n++ % 4]!) moments.push(now);
    const last = moments.at(-1)!;
    expect(taken(new SteadyRateLimiter(5000), moments)).toBe(1 + Math.floor(last * 5));
  });

  test("lets the first record go at once and returns the wait until the next", () => {
    const limiter = new SteadyRateLimiter(10);
    expect(limiter.take(0)).toBe(true);
    expect(limiter.take(0)).toBe(false);
    expect(limiter.waitMs(0)).toBe(100);
    expect(limiter.waitMs(60)).toBe(40);
    expect(limiter.take(100)).toBe(true);
  });

  test("catches up at most a second after a pause of minutes", () => {
    const limiter = new SteadyRateLimiter(1000);
    taken(limiter, [0]);
    expect(taken(limiter, [300_000])).toBe(1000);
  });

  test("lets a record go every ten seconds at a rate of 0.1", () => {
    const limiter = new SteadyRateLimiter(0.1);
    expect(taken(limiter, [0])).toBe(1);
    expect(taken(limiter, [9_999])).toBe(0);
    expect(taken(limiter, [10_000])).toBe(1);
  });
});

describe("the spaced rate limiter", () => {
  test("waits for each interval in turn, from the time when the record was due", () => {
    const intervals = [1, 0.5, 2];
    const limiter = new SpacedRateLimiter(() => intervals.shift() ?? 100);
    expect(limiter.take(0)).toBe(true);
    expect(limiter.waitMs(0)).toBe(1000);
    expect(limiter.take(999)).toBe(false);
    expect(limiter.take(1200)).toBe(true); // 200 ms late; the next is due at 1500 all the same
    expect(limiter.take(1499)).toBe(false);
    expect(limiter.take(1500)).toBe(true);
    expect(limiter.waitMs(1500)).toBe(2000);
  });

  test("catches up at most a second after a pause", () => {
    const limiter = new SpacedRateLimiter(() => 0.1);
    expect(taken(limiter, [0])).toBe(1);
    expect(taken(limiter, [60_000])).toBe(11);
  });
});

test("a producer without a rate limit never waits", () => {
  expect(noRateLimit.take(0)).toBe(true);
  expect(noRateLimit.waitMs(0)).toBe(0);
});
