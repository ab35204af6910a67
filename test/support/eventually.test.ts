import { describe, expect, test } from "bun:test";
import { eventually, throughout } from "./eventually.ts";
import { rejection } from "./rejection.ts";

describe("eventually", () => {
  test("gives the first true value", async () => {
    let looks = 0;
    expect(await eventually("three looks", () => (++looks === 3 ? "third" : undefined))).toBe("third");
    expect(looks).toBe(3);
  });

  test("names the condition and the last look when the time is over", async () => {
    expect((await rejection(eventually("the sun rises", () => false, { timeoutMs: 50 }))).message).toContain(
      "not within 50 ms: the sun rises (the last look gave false)",
    );
  });

  test("takes a look that throws for not yet", async () => {
    let looks = 0;
    const value = await eventually("no error", () => {
      if (++looks < 3) throw new Error("too early");
      return looks;
    });
    expect(value).toBe(3);
    const failing = eventually("no error", () => Promise.reject(new Error("still down")), { timeoutMs: 50 });
    expect((await rejection(failing)).message).toContain("the last look failed: still down");
  });

  test("does not wait for a look that never answers", async () => {
    const silent = eventually("an answer", () => new Promise<boolean>(() => {}), { timeoutMs: 50 });
    expect((await rejection(silent)).message).toContain("not within 50 ms: an answer");
  });

  test("looks once even when the time is over at the start", async () => {
    expect(await eventually("at once", () => true, { timeoutMs: 0 })).toBe(true);
  });
});

describe("throughout", () => {
  test("passes what stays true", async () => {
    let looks = 0;
    await throughout("a count", 100, () => ++looks > 0);
    expect(looks).toBeGreaterThan(1);
  });

  test("fails at the first look that is false", async () => {
    let looks = 0;
    expect((await rejection(throughout("below three", 1_000, () => ++looks < 3))).message).toContain(
      "no longer true: below three",
    );
    expect(looks).toBe(3);
  });
});
