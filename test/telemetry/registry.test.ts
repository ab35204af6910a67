import { describe, expect, test } from "bun:test";
import { type CounterName, type GaugeName, METRIC_NAMES, METRICS } from "../../shared/telemetry/metrics.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { printable } from "../../shared/text/format.ts";
import { Scrape } from "../support/metrics-text.ts";

async function scrapeOf(registry: MetricsRegistry): Promise<Scrape> {
  return new Scrape(await registry.text());
}

/** The value of one series; undefined if there is none. */
function valueOf(registry: MetricsRegistry, metric: CounterName | GaugeName, ...labels: string[]) {
  return registry.values(metric).find((series) => series.labels.join() === labels.join())?.value;
}

/** The recording of a thread, as it arrives in another thread. */
function sent(recorder: ThreadRecorder) {
  return structuredClone(recorder.take()!);
}

describe("a scrape", () => {
  test("has HELP and TYPE of every metric once, and no series twice", async () => {
    const registry = new MetricsRegistry({ processMetrics: true });
    registry.add("events_processed_total", 1, "page_view");
    registry.add("events_failed_total", 2, "not_json", "t");
    registry.set("kafka_consumer_lag", 3, "t", "0");
    registry.observe("db_batch_size", 10);
    const text = await registry.text();
    const lines = text.split("\n").filter((line) => line !== "");
    for (const name of METRIC_NAMES) {
      expect(lines.filter((line) => line.startsWith(`# HELP ${name} `))).toEqual([
        `# HELP ${name} ${METRICS[name].help}`,
      ]);
      expect(lines.filter((line) => line.startsWith(`# TYPE ${name} `))).toEqual([
        `# TYPE ${name} ${METRICS[name].type}`,
      ]);
    }
    const series = lines.filter((line) => !line.startsWith("#")).map((line) => line.replace(/ \S+$/, ""));
    expect(new Set(series).size).toBe(series.length);
    const scrape = new Scrape(text);
    expect(scrape.value("process_resident_memory_bytes")).toBeGreaterThan(1e6);
    expect(scrape.value("process_start_time_seconds")).toBeGreaterThan(1e9);
    // Promtool warns about gauges that end in _total; prom-client has some.
    for (const [name, type] of scrape.types) expect(type === "gauge" && name.endsWith("_total")).toBe(false);
    expect(registry.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
  });

  test("escapes label values", async () => {
    const registry = new MetricsRegistry();
    const hostile = 'a"b\\cd é';
    registry.add("events_processed_total", 4, hostile);
    expect((await scrapeOf(registry)).value("events_processed_total", { event_type: hostile })).toBe(4);
  });

  test("starts at 0 for counters and histograms without labels, and for the alerts", async () => {
    const scrape = await scrapeOf(new MetricsRegistry());
    expect(scrape.value("late_events_total")).toBe(0);
    expect(scrape.value("db_batch_size_count")).toBe(0);
    expect(
      scrape.find("alerts_fired_total").map(({ labels, value }) => [labels["alert_type"], value]),
    ).toEqual([
      ["high_error_rate", 0],
      ["high_consumer_lag", 0],
      ["high_processing_latency", 0],
      ["db_connection_failure", 0],
      ["pipeline_failure", 0],
    ]);
    expect(scrape.find("last_event_processed_unixtime")).toEqual([]);
  });

  test("leaves out the metrics of the other program", async () => {
    const scrape = await scrapeOf(new MetricsRegistry({ program: "producer" }));
    expect([...scrape.types.keys()]).toContain("events_produced_total");
    expect([...scrape.types.keys()]).not.toContain("events_consumed_total");
  });
});

describe("a histogram", () => {
  test("counts each value in its bucket, and a bound in the bucket below it", async () => {
    const registry = new MetricsRegistry();
    for (const [value, count] of [
      [1, 2],
      [5, 1],
      [5.1, 1],
      [5000, 3],
      [1e9, 4],
    ] as const) {
      registry.observe("db_batch_size", value, count);
    }
    const scrape = await scrapeOf(registry);
    const buckets = Object.fromEntries(
      scrape.find("db_batch_size_bucket").map(({ labels, value }) => [labels["le"], value]),
    );
    expect(buckets).toMatchObject({ "1": 2, "5": 3, "10": 4, "2500": 4, "5000": 7, "100000": 7, "+Inf": 11 });
    expect(scrape.value("db_batch_size_count")).toBe(11);
    expect(scrape.value("db_batch_size_sum")).toBeCloseTo(2 + 5 + 5.1 + 15_000 + 4e9);
  });

  test("takes a billion observations at once", async () => {
    const recorder = new ThreadRecorder();
    recorder.observe("event_age_at_commit_seconds", 0.02, 1_000_000_000);
    const registry = new MetricsRegistry();
    registry.merge(sent(recorder), "w");
    const scrape = await scrapeOf(registry);
    expect(scrape.value("event_age_at_commit_seconds_bucket", { le: "0.025" })).toBe(1e9);
    expect(scrape.value("event_age_at_commit_seconds_bucket", { le: "0.01" })).toBe(0);
  });
});

describe("the merged metrics", () => {
  test("add up counters and histograms, counting each delta once", async () => {
    const registry = new MetricsRegistry();
    const threads = [new ThreadRecorder(), new ThreadRecorder()];
    for (let round = 0; round < 3; round++) {
      for (const [index, thread] of threads.entries()) {
        thread.add("events_consumed_total", 10 + index, "t");
        thread.observe("db_insert_duration_seconds", 0.003, 2);
        registry.merge(sent(thread), `worker ${index}`);
        expect(thread.take()).toBeUndefined();
      }
    }
    registry.add("events_consumed_total", 1, "t");
    const scrape = await scrapeOf(registry);
    expect(scrape.value("events_consumed_total", { topic: "t" })).toBe(3 * 21 + 1);
    expect(scrape.value("db_insert_duration_seconds_count")).toBe(12);
    expect(valueOf(registry, "events_consumed_total", "t")).toBe(64);
  });

  test("hold the lag of the thread that set it last; its former owner cannot remove it", () => {
    const registry = new MetricsRegistry();
    const [a, b] = [new ThreadRecorder(), new ThreadRecorder()];
    a.set("kafka_consumer_lag", 5, "t", "0");
    registry.merge(sent(a), "a");
    b.set("kafka_consumer_lag", 7, "t", "0");
    registry.merge(sent(b), "b");
    expect(registry.values("kafka_consumer_lag")).toEqual([{ labels: ["t", "0"], value: 7 }]);
    a.remove("kafka_consumer_lag", "t", "0");
    registry.merge(sent(a), "a");
    expect(valueOf(registry, "kafka_consumer_lag", "t", "0")).toBe(7);
    b.remove("kafka_consumer_lag", "t", "0");
    registry.merge(sent(b), "b");
    expect(registry.values("kafka_consumer_lag")).toEqual([]);
  });

  test("sum connections, and keep the latest time of an event", () => {
    const registry = new MetricsRegistry();
    const [a, b] = [new ThreadRecorder(), new ThreadRecorder()];
    a.set("db_connections_active", 1);
    a.set("last_event_processed_unixtime", 200);
    b.set("db_connections_active", 1);
    b.set("last_event_processed_unixtime", 100);
    registry.merge(sent(a), "a");
    registry.merge(sent(b), "b");
    registry.set("db_connections_active", 2);
    expect(valueOf(registry, "db_connections_active")).toBe(4);
    expect(valueOf(registry, "last_event_processed_unixtime")).toBe(200);
    a.set("last_event_processed_unixtime", 150);
    registry.merge(sent(a), "a");
    expect(valueOf(registry, "last_event_processed_unixtime")).toBe(200);
  });

  test("keep the counts of a thread that has ended, without its gauges", () => {
    const registry = new MetricsRegistry();
    const [a, b] = [new ThreadRecorder(), new ThreadRecorder()];
    for (const [index, thread] of [a, b].entries()) {
      thread.add("events_consumed_total", 10, "t");
      thread.set("db_connections_active", 1);
      thread.set("kafka_consumer_lag", 3, "t", `${index}`);
      thread.set("last_event_processed_unixtime", 100 - index);
      registry.merge(sent(thread), `${index}`);
    }
    registry.dropSource("0");
    expect(valueOf(registry, "events_consumed_total", "t")).toBe(20);
    expect(valueOf(registry, "db_connections_active")).toBe(1);
    expect(registry.values("kafka_consumer_lag")).toEqual([{ labels: ["t", "1"], value: 3 }]);
    expect(valueOf(registry, "last_event_processed_unixtime")).toBe(100);
  });

  test("receive no recording without a change", () => {
    const recorder = new ThreadRecorder();
    expect(recorder.take()).toBeUndefined();
    recorder.add("late_events_total", 0);
    recorder.observe("db_batch_size", 5, 0);
    expect(recorder.take()).toBeUndefined();
    recorder.remove("kafka_consumer_lag", "t", "1");
    expect(recorder.take()?.gauges).toEqual([["kafka_consumer_lag", ["t", "1"], undefined]]);
  });
});

describe("the event types", () => {
  test("beyond the first 100 count as other, without losing an event", () => {
    const registry = new MetricsRegistry();
    const threads = [new ThreadRecorder(), new ThreadRecorder()];
    for (let type = 0; type < 1000; type++) {
      threads[type % 2]!.add("events_processed_total", 3, `type_${type}`);
    }
    for (const [index, thread] of threads.entries()) registry.merge(sent(thread), `${index}`);
    registry.add("events_processed_total", 1, "x".repeat(51));
    const series = registry.values("events_processed_total");
    expect(series.length).toBeLessThanOrEqual(101);
    expect(series.length).toBeGreaterThan(90);
    expect(series.reduce((sum, { value }) => sum + value, 0)).toBe(3001);
    expect(valueOf(registry, "events_processed_total", "other")).toBeGreaterThan(2600);
  });

  test("with characters that act on a terminal count as other: curl prints a scrape as it is", async () => {
    const registry = new MetricsRegistry({ program: "consumer" });
    for (const type of ["\u001b]0;owned\u0007", "a\nb", "\u009b31m", "\u202eabc"]) {
      registry.add("events_processed_total", 1, type);
    }
    registry.add("events_processed_total", 1, "größe 日本");
    expect(valueOf(registry, "events_processed_total", "other")).toBe(4);
    expect(valueOf(registry, "events_processed_total", "größe 日本")).toBe(1);
    const text = await registry.text();
    expect(printable(text, "\n")).toBe(text);
  });

  test("of the simulator keep their series after a flood of others", () => {
    const recorder = new ThreadRecorder();
    for (let type = 0; type < 1000; type++) recorder.add("events_processed_total", 1, `type_${type}`);
    recorder.add("events_processed_total", 5, "purchase");
    const registry = new MetricsRegistry();
    registry.merge(sent(recorder), "w");
    expect(valueOf(registry, "events_processed_total", "purchase")).toBe(5);
  });
});
