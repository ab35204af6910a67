import { describe, expect, test } from "bun:test";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { FlowHistory } from "../../workers/console/flow-history.ts";

describe("the flow history", () => {
  test("has rates of the last seconds and latencies of the last ten", () => {
    const metrics = new MetricsRegistry();
    let lag: number | undefined;
    const flow = new FlowHistory(metrics, () => lag);
    // Whole milliseconds: with fractions a difference of ten seconds may come out a little less.
    const start = Math.ceil(performance.now());
    const second = (n: number) => flow.sample(1000 * n, start + 1000 * n);
    expect(flow.now().now).toMatchObject({ consumedPerSecond: 0, lagRecords: null, processing: null });
    for (let n = 1; n <= 20; n++) {
      // A hundred a second for ten seconds, then two hundred that are older.
      const records = n <= 10 ? 100 : 200;
      metrics.add("events_consumed_total", records, "user-events");
      metrics.add("events_processed_total", records - 1, n % 2 === 0 ? "click" : "login");
      metrics.add("duplicate_events_total", 1, "user-events");
      metrics.observe("event_age_at_commit_seconds", n <= 10 ? 0.009 : 0.9, records);
      lag = n;
      second(n);
      if (n === 14) expect(flow.now().now.consumedPerSecond).toBeCloseTo(200, 0);
      if (n === 10) expect(flow.now().now.consumedPerSecond).toBeCloseTo(100, 0);
    }
    const { now } = flow.now();
    expect(now.atMs).toBe(20_000);
    expect(now.consumedPerSecond).toBeCloseTo(200, 0);
    expect(now.lagRecords).toBe(20);
    // None of the young ones of the first ten seconds is left.
    expect(now.age?.p50).toBeCloseTo(0.75);
    // The first point is the start.
    expect(flow.points().map(({ lagRecords }) => lagRecords)).toEqual([
      null,
      ...Array.from({ length: 20 }, (_, n) => n + 1),
    ]);
  });

  test("has the totals of this moment, not those of the last sample", () => {
    const metrics = new MetricsRegistry();
    const flow = new FlowHistory(metrics, () => undefined);
    metrics.add("events_consumed_total", 10, "user-events");
    metrics.add("events_processed_total", 7, "click");
    metrics.add("duplicate_events_total", 2, "user-events");
    metrics.add("dead_letter_events_total", 1, "not_json");
    expect(flow.now().totals).toEqual({ consumed: 10, stored: 7, duplicates: 2, deadLetters: 1 });
  });

  test("covers five minutes", () => {
    const flow = new FlowHistory(new MetricsRegistry(), () => 0);
    const start = Math.ceil(performance.now());
    for (let n = 1; n <= 400; n++) flow.sample(n, start + n * 1000);
    expect(flow.points().map(({ atMs }) => atMs)).toEqual(Array.from({ length: 301 }, (_, n) => 100 + n));
  });
});
