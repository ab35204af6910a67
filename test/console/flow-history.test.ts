import { expect, test } from "bun:test";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { FlowHistory } from "../../workers/console/flow-history.ts";

test("rates are those of the last seconds, latencies those of the last ten", () => {
  const metrics = new MetricsRegistry();
  let lag: number | undefined;
  const flow = new FlowHistory(metrics, () => lag);
  // Whole milliseconds: the difference of two others may miss ten seconds by a hair.
  const start = Math.ceil(performance.now());
  const second = (n: number) => flow.sample(1000 * n, start + 1000 * n);
  expect(flow.now()).toMatchObject({
    now: { consumedPerSecond: 0, lagRecords: null, processing: null },
    lastCommitAtMs: null,
  });
  for (let n = 1; n <= 20; n++) {
    // A hundred a second for ten seconds, then two hundred, older ones.
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
  metrics.set("last_event_processed_unixtime", 1234.5);
  const { now, totals, lastCommitAtMs } = flow.now();
  expect(now.atMs).toBe(20_000);
  expect(now.consumedPerSecond).toBeCloseTo(200, 0);
  expect(now.storedPerSecond).toBeCloseTo(199, 0);
  expect(now.duplicatesPerSecond).toBeCloseTo(1, 1);
  expect(now.lagRecords).toBe(20);
  // None of the young ones of the first ten seconds is left.
  expect(now.age?.p50).toBeCloseTo(0.75);
  expect(totals).toMatchObject({ consumed: 3000, stored: 2980, duplicates: 20, deadLetters: 0 });
  expect(lastCommitAtMs).toBe(1_234_500);
  // The first one is the start.
  expect(flow.points().map(({ lagRecords }) => lagRecords)).toEqual([
    null,
    ...Array.from({ length: 20 }, (_, n) => n + 1),
  ]);
});

test("five minutes are kept", () => {
  const flow = new FlowHistory(new MetricsRegistry(), () => 0);
  for (let n = 1; n <= 400; n++) flow.sample(n, n * 1000);
  expect(flow.points()).toHaveLength(300);
  expect(flow.points()[0]?.atMs).toBe(101);
});
