import { describe, expect, test } from "bun:test";
import { Backoff } from "../../shared/runtime/backoff.ts";

describe("a backoff", () => {
  test("starts with no wait, then doubles up to its maximum, each wait shortened by up to half", () => {
    const backoff = new Backoff(100, 350);
    expect(backoff.next()).toBe(0);
    for (const full of [100, 200, 350, 350]) expect(backoff.next()).toBeWithin(full / 2, full + 0.001);
    expect(backoff.attempts).toBe(5);
  });

  test("starts again after a reset", () => {
    const backoff = new Backoff(100, 1000);
    backoff.next();
    backoff.next();
    backoff.reset();
    expect([backoff.next(), backoff.attempts]).toEqual([0, 1]);
  });
});
