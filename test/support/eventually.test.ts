import { describe, expect, test } from "bun:test";
import { eventually, throughout } from "./eventually.ts";
import { rejection } from "./rejection.ts";

describe("eventually", () => {
  test("returns the first true value", async () => {
    let checks = 0;
    expect(await eventually("three checks", () => (++checks === 3 ? "third" : undefined))).toBe("third");
    expect(checks).toBe(3);
  });

  test("names the condition and the last check at the deadline", async () => {
    expect((await rejection(eventually("the sun rises", () => false, { timeoutMs: 50 }))).message).toContain(
      "not within 50 ms: the sun rises (the last check gave false)",
    );
  });

  test("treats a check that throws as a condition that is not met yet", async () => {
    let checks = 0;
    const value = await eventually("no error", () => {
      if (++checks < 3) throw new Error("too early");
      return checks;
    });
    expect(value).toBe(3);
    const failing = eventually("no error", () => Promise.reject(new Error("still down")), { timeoutMs: 50 });
    expect((await rejection(failing)).message).toContain("the last check failed: still down");
  });

  test("does not wait for a check that never answers", async () => {
    const silent = eventually("an answer", () => new Promise<boolean>(() => {}), { timeoutMs: 50 });
    expect((await rejection(silent)).message).toContain("not within 50 ms: an answer");
  });

  test("checks once even with no time at all", async () => {
    expect(await eventually("at once", () => true, { timeoutMs: 0 })).toBe(true);
  });
});

describe("throughout", () => {
  test("resolves when the condition stays true", async () => {
    let checks = 0;
    await throughout("a count", 100, () => ++checks > 0);
    expect(checks).toBeGreaterThan(1);
  });

  test("fails at the first check that is false", async () => {
    let checks = 0;
    expect((await rejection(throughout("below three", 1_000, () => ++checks < 3))).message).toContain(
      "no longer true: below three",
    );
    expect(checks).toBe(3);
  });
});
