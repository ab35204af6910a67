import { describe, expect, test } from "bun:test";
import { SlidingWindow } from "../../shared/telemetry/sliding-window.ts";

function windowOf(...timesMs: number[]): SlidingWindow<number> {
  const window = new SlidingWindow<number>(1000);
  for (const atMs of timesMs) window.push(atMs, atMs);
  return window;
}

describe("a sliding window", () => {
  test("keeps one sample that is as old as the window is long", () => {
    expect(windowOf(0, 300, 600, 900, 1200, 1500).samples()).toEqual([300, 600, 900, 1200, 1500]);
    expect(windowOf(0, 500, 1000).baseline()).toBe(0);
    expect(windowOf(0, 500, 1000, 1500).baseline()).toBe(500);
  });

  test("starts at its first sample while it is not full", () => {
    expect(windowOf(700).baseline()).toBe(700);
    expect(windowOf(700).spanMs()).toBe(0);
    expect(windowOf(0, 400).baseline()).toBe(0);
    expect(windowOf(0, 400).spanMs()).toBe(400);
  });

  test("keeps the two samples around a pause that is longer than the window", () => {
    expect(windowOf(0, 10, 90_000).samples()).toEqual([10, 90_000]);
    expect(windowOf(0, 10, 90_000).spanMs()).toBe(89_990);
  });

  test("compares the newest sample with one of a given age", () => {
    const window = windowOf(0, 300, 600, 900);
    expect([window.newest, window.baseline(300), window.baseline(301), window.baseline(5000)]).toEqual([
      900, 600, 300, 0,
    ]);
    expect(window.spanMs(300)).toBe(300);
  });
});
