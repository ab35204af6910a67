import { describe, expect, test } from "bun:test";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { LatencyWindow } from "../../workers/demo/latency.ts";
import { RateHistory } from "../../workers/demo/rate-history.ts";

describe("a rate", () => {
  test("is that of the last two seconds", () => {
    const rate = new RateHistory();
    for (let tick = 0; tick <= 100; tick++) rate.add(tick * 100, tick * 50);
    for (let tick = 1; tick <= 20; tick++) rate.add(10_000 + tick * 100, 5000);
    expect(rate.total).toBe(5000);
    expect(rate.perSecond).toBe(0);
    expect(rate.seconds).toEqual([...Array.from({ length: 10 }, () => 500), 0, 0]);
  });

  test("is 0 where there is nothing to compare", () => {
    const rate = new RateHistory();
    expect([rate.total, rate.perSecond]).toEqual([0, 0]);
    rate.add(5, 100);
    expect([rate.total, rate.perSecond]).toEqual([100, 0]);
    rate.add(5, 200);
    expect(rate.perSecond).toBe(0);
  });

  test("after a pause fills the seconds that were not looked at", () => {
    const rate = new RateHistory();
    rate.add(0, 0);
    rate.add(4000, 400);
    expect(rate.seconds).toEqual([100, 100, 100, 100]);
  });

  test("does not grow for ever", () => {
    const rate = new RateHistory();
    for (let second = 0; second < 2000; second++) rate.add(second * 1000, second);
    rate.add(1e9, 1);
    expect(rate.seconds.length).toBeLessThanOrEqual(400);
  });
});

describe("latency", () => {
  /** What the consumer serves, by the very code that it serves it with. */
  class Consumer {
    readonly #metrics = new MetricsRegistry({ program: "consumer" });

    committed(ageSeconds: number, events: number): this {
      this.#metrics.observe("event_age_at_commit_seconds", ageSeconds, events);
      return this;
    }

    scrape(): Promise<string> {
      return this.#metrics.text();
    }
  }

  test("comes out of the histogram, between its bounds", async () => {
    const window = new LatencyWindow();
    window.add(0, await new Consumer().committed(0.02, 98).committed(0.2, 2).scrape());
    const { p50, p99 } = window.recent()!;
    expect(p50).toBeGreaterThan(0.01);
    expect(p50).toBeLessThanOrEqual(0.025);
    expect(p99).toBeGreaterThan(0.1);
    expect(p99).toBeLessThanOrEqual(0.25);
  });

  test("is that of the last ten seconds, and of all", async () => {
    const window = new LatencyWindow();
    const consumer = new Consumer().committed(30, 1000);
    window.add(0, await consumer.scrape());
    for (let second = 1; second <= 20; second++)
      window.add(second * 1000, await consumer.committed(0.02, 10).scrape());
    expect(window.recent()!.p99).toBeLessThan(0.03);
    expect(window.overall()!.p50).toBeGreaterThan(10);
  });

  test("beyond the last bound is the last bound", async () => {
    const window = new LatencyWindow();
    window.add(0, await new Consumer().committed(1e6, 1).scrape());
    expect(window.recent()).toMatchObject({ p50: 3600, p99: 3600 });
  });

  test("is unknown where nothing was committed, or nothing was scraped", async () => {
    const window = new LatencyWindow();
    expect(window.recent()).toBeUndefined();
    window.add(0, "something else\n");
    expect(window.overall()).toBeUndefined();
    window.add(1, await new Consumer().scrape());
    expect(window.recent()).toBeUndefined();
  });
});
