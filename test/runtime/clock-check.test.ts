// Checks that a clock that goes back is noticed, once.
import { describe, expect, test } from "bun:test";
import { ClockCheck } from "../../shared/runtime/clock-check.ts";
import { InvariantViolated } from "../../shared/runtime/errors.ts";

describe("a check of the monotonic clock", () => {
  test("passes a clock that advances or stands still", () => {
    const check = new ClockCheck();
    for (const nowMs of [0, 5, 5, 7.5]) check.pass(nowMs);
  });

  test("throws once for a clock that goes back, and goes on from there", () => {
    const check = new ClockCheck();
    check.pass(10);
    expect(() => check.pass(9)).toThrow(InvariantViolated);
    check.pass(9);
  });
});
