import { describe, expect, test } from "bun:test";
import type { Clock } from "../../shared/runtime/clock.ts";
import { type ConsumerFigures, ConsumerConditions } from "../../shared/alerts/alert-conditions.ts";
import { type Alert, Alerts } from "../../shared/alerts/alerts.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { METRICS } from "../../shared/telemetry/metrics.ts";
import { BucketCounts } from "../../shared/telemetry/recorder.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";

const THRESHOLDS = {
  errorRateThreshold: 0.05,
  consumerLagThreshold: 1000,
  processingLatencyThresholdSeconds: 5,
};
const START_MS = Date.UTC(2026, 0, 1);

/** The figures and alerts of one consumer, and a clock that the test moves. */
class Trial {
  nowMs = 0;
  consumed = 0;
  failed = 0;
  lag = 0;
  databaseFault: string | undefined;
  pipelineFault: string | undefined;
  readonly processing = new BucketCounts("event_processing_duration_seconds");
  readonly changes: Alert[] = [];
  readonly lines: Record<string, unknown>[] = [];
  readonly metrics = new MetricsRegistry();
  readonly alerts: Alerts;
  readonly #conditions: ConsumerConditions;

  constructor(thresholds: Partial<typeof THRESHOLDS> = {}) {
    const clock: Clock = {
      now: () => START_MS + this.nowMs,
      monotonicMs: () => this.nowMs,
      sleep: async () => undefined,
    };
    const destination = { write: (line: string) => void this.lines.push(JSON.parse(line)) };
    this.#conditions = new ConsumerConditions({ ...THRESHOLDS, ...thresholds });
    this.alerts = new Alerts({
      log: makeLogger("test", "info", { destination }),
      metrics: this.metrics,
      onChange: (alert) => void this.changes.push(alert),
      clock,
    });
  }

  /** Lets seconds pass, with one evaluation and `consumed` records in each. */
  pass(seconds: number, { consumed = 0, failed = 0, tookSeconds = 0.01 } = {}): void {
    for (let second = 0; second < seconds; second++) {
      this.nowMs += 1000;
      this.consumed += consumed;
      this.failed += failed;
      this.processing.observe(tookSeconds, consumed);
      this.alerts.observe(this.#conditions.evaluate(this.#figures(), this.nowMs));
    }
  }

  #figures(): ConsumerFigures {
    const { counts, sum } = this.processing;
    return {
      consumed: this.consumed,
      failed: this.failed,
      processing: { counts: counts.slice(), sum },
      lag: this.lag,
      databaseFault: this.databaseFault,
      pipelineFault: this.pipelineFault,
    };
  }

  /** `high_consumer_lag +16`: started 16 s after the beginning; `-131`: ended then. */
  get timeline(): string[] {
    return this.changes.map(({ type, startedAtMs, endedAtMs }) =>
      endedAtMs === undefined
        ? `${type} +${(startedAtMs - START_MS) / 1000}`
        : `${type} -${(endedAtMs - START_MS) / 1000}`,
    );
  }

  fired(type: Alert["type"]): number {
    return this.metrics
      .values("alerts_fired_total")
      .filter(({ labels }) => labels[0] === type)
      .reduce((sum, { value }) => sum + value, 0);
  }
}

describe("an alert", () => {
  test("starts once and ends once, and is logged, counted and remembered", () => {
    const trial = new Trial();
    trial.lag = 1500;
    trial.pass(120);
    expect(trial.alerts.recent()).toEqual([
      {
        type: "high_consumer_lag",
        severity: "warning",
        summary: "this consumer is 1500 records behind, more than 1000",
        startedAtMs: START_MS + 16_000,
        endedAtMs: undefined,
      },
    ]);
    trial.lag = 0;
    trial.pass(120);
    expect(trial.timeline).toEqual(["high_consumer_lag +16", "high_consumer_lag -131"]);
    expect(trial.fired("high_consumer_lag")).toBe(1);
    expect(trial.alerts.recent()).toEqual([trial.changes[1]!]);
    expect(trial.lines.map(({ level, msg, alert }) => [level, msg, alert])).toEqual([
      ["warn", "alert: this consumer is 1500 records behind, more than 1000", "high_consumer_lag"],
      ["info", "alert over: this consumer is 1500 records behind, more than 1000", "high_consumer_lag"],
    ]);
    trial.lag = 5000;
    trial.pass(30);
    expect(trial.fired("high_consumer_lag")).toBe(2);
    expect(trial.alerts.recent().map(({ endedAtMs }) => endedAtMs === undefined)).toEqual([true, false]);
  });

  test("neither starts with a short breach nor ends with a short relief", () => {
    const trial = new Trial();
    for (let round = 0; round < 10; round++) {
      trial.lag = 9000;
      trial.pass(14);
      trial.lag = 0;
      trial.pass(1);
    }
    expect(trial.timeline).toEqual([]);
    trial.lag = 9000;
    trial.pass(20);
    for (let round = 0; round < 10; round++) {
      trial.lag = 0;
      trial.pass(9);
      trial.lag = 9000;
      trial.pass(1);
    }
    expect(trial.timeline).toHaveLength(1);
  });

  test("does not end while the figure stays close below the threshold", () => {
    const trial = new Trial();
    trial.lag = 1001;
    trial.pass(20);
    trial.lag = 801;
    trial.pass(100);
    expect(trial.timeline).toHaveLength(1);
    trial.lag = 800;
    trial.pass(20);
    expect(trial.timeline).toHaveLength(2);
  });

  test("does not start when the lag equals the threshold", () => {
    const trial = new Trial();
    trial.lag = 1000;
    trial.pass(100);
    expect(trial.timeline).toEqual([]);
  });

  test("is remembered when it has ended, as one of the last twenty, after the active ones", () => {
    const trial = new Trial();
    for (let round = 0; round < 25; round++) {
      trial.databaseFault = `fault ${round}`;
      trial.pass(10);
      trial.databaseFault = undefined;
      trial.pass(15);
    }
    trial.lag = 5000;
    trial.pass(20);
    trial.pipelineFault = "stuck";
    trial.pass(1);
    const recent = trial.alerts.recent();
    expect(recent).toHaveLength(22);
    expect(recent.slice(0, 4).map(({ summary }) => summary)).toEqual([
      "stuck",
      "this consumer is 5000 records behind, more than 1000",
      "fault 24",
      "fault 23",
    ]);
  });
});

describe("high_error_rate", () => {
  test("concerns the last minute, and not the time since the start", () => {
    const trial = new Trial();
    trial.pass(3600, { consumed: 1000 });
    // 10 % of the last records, and almost none of the 3.6 million.
    trial.pass(70, { consumed: 10, failed: 1 });
    expect(trial.timeline).toHaveLength(1);
    expect(trial.alerts.recent()[0]?.summary).toMatch(
      /^\d+(\.\d)? % of the records of the last minute became dead letters \(\d+ of \d+\), more than 5 %$/,
    );
    trial.pass(80, { consumed: 10 });
    expect(trial.fired("high_error_rate")).toBe(1);
    expect(trial.timeline).toHaveLength(2);
  });

  test("does not start for one bad record of one, nor for nine of nine", () => {
    const trial = new Trial();
    trial.pass(1, { consumed: 1, failed: 1 });
    trial.pass(8, { consumed: 1, failed: 1 });
    trial.pass(100);
    expect(trial.timeline).toEqual([]);
    trial.pass(10, { consumed: 1, failed: 1 });
    trial.pass(10);
    expect(trial.timeline).toHaveLength(1);
  });

  test("does not start for a low share of many records", () => {
    const trial = new Trial();
    trial.pass(300, { consumed: 100, failed: 5 });
    expect(trial.timeline).toEqual([]);
  });

  test("starts at any ten dead letters with a threshold of 0", () => {
    const trial = new Trial({ errorRateThreshold: 0 });
    trial.pass(30, { consumed: 1000 });
    expect(trial.timeline).toEqual([]);
    trial.pass(1, { consumed: 1000, failed: 10 });
    trial.pass(10, { consumed: 1000 });
    expect(trial.timeline).toEqual(["high_error_rate +36"]);
    trial.pass(70, { consumed: 1000 });
    expect(trial.timeline).toHaveLength(2);
  });

  test("does not depend on the records of an earlier process", () => {
    const old = new Trial();
    old.pass(30, { consumed: 10, failed: 5 });
    expect(old.fired("high_error_rate")).toBe(1);
    const next = new Trial();
    next.pass(30, { consumed: 10 });
    expect(next.timeline).toEqual([]);
    expect(next.alerts.recent()).toEqual([]);
  });
});

describe("high_processing_latency", () => {
  test("compares the 95th percentile of the last minute", () => {
    const trial = new Trial();
    trial.pass(60, { consumed: 96, tookSeconds: 0.02 });
    for (let second = 0; second < 60; second++) {
      trial.processing.observe(9, 4);
      trial.pass(1, { consumed: 96, tookSeconds: 0.02 });
    }
    expect(trial.timeline).toEqual([]);
    for (let second = 0; second < 60; second++) {
      trial.processing.observe(9, 10);
      trial.pass(1, { consumed: 90, tookSeconds: 0.02 });
    }
    expect(trial.timeline).toHaveLength(1);
    // In the bucket from 5 to 10 s, where half of the records are slower.
    expect(trial.alerts.recent()[0]?.summary).toMatch(
      /^5 % of the records of the last minute took [5-9]\.\d\d s or more from receipt to COMMIT, the threshold is 5 s$/,
    );
    trial.pass(80, { consumed: 100, tookSeconds: 0.02 });
    expect(trial.timeline).toHaveLength(2);
  });

  test("starts also for a threshold beyond the last bucket", () => {
    const [last] = METRICS.event_processing_duration_seconds.buckets.slice(-1);
    const trial = new Trial({ processingLatencyThresholdSeconds: 3 * last! });
    trial.pass(30, { consumed: 10, tookSeconds: 3 * last! - 1 });
    expect(trial.timeline).toEqual([]);
    trial.pass(100, { consumed: 10, tookSeconds: 4 * last! });
    expect(trial.timeline).toHaveLength(1);
  });

  test("does not start for a few slow records", () => {
    const trial = new Trial();
    trial.pass(9, { consumed: 1, tookSeconds: 9 });
    trial.pass(60);
    expect(trial.timeline).toEqual([]);
  });
});

describe("the alert of a failure", () => {
  test("starts 5 s after the database is lost, and ends 10 s after it is back", () => {
    const trial = new Trial();
    trial.databaseFault = "worker 0 has no connection to PostgreSQL";
    trial.pass(5);
    expect(trial.timeline).toEqual([]);
    trial.pass(60);
    trial.databaseFault = undefined;
    trial.pass(60);
    expect(trial.timeline).toEqual(["db_connection_failure +6", "db_connection_failure -76"]);
    expect(trial.lines.map(({ level }) => level)).toEqual(["error", "info"]);
  });

  test("starts at once, and never ends, when the failure ends the program", () => {
    const trial = new Trial();
    trial.alerts.failed(new Error("worker 1 has ended: out of memory"));
    trial.alerts.failed(new Error("later"));
    trial.pass(60);
    expect(trial.timeline).toEqual(["pipeline_failure +0"]);
    expect(trial.changes[0]).toMatchObject({
      severity: "critical",
      summary: "the program ends: worker 1 has ended: out of memory",
    });
    expect(trial.fired("pipeline_failure")).toBe(1);
  });

  test("replaces an active pipeline_failure when a failure ends the program", () => {
    const trial = new Trial();
    trial.pipelineFault = "nothing moves";
    trial.pass(5);
    trial.alerts.failed(new Error("out of memory"));
    expect(trial.changes.map(({ summary, endedAtMs }) => [summary, endedAtMs === undefined])).toEqual([
      ["nothing moves", true],
      ["nothing moves", false],
      ["the program ends: out of memory", true],
    ]);
  });

  test("ends with a program that stops as requested, and none starts after it", () => {
    const trial = new Trial();
    trial.databaseFault = "a";
    trial.pass(10);
    trial.alerts.stopped();
    expect(trial.timeline).toEqual(["db_connection_failure +6", "db_connection_failure -10"]);
    trial.pipelineFault = "b";
    trial.pass(60);
    expect(trial.timeline).toHaveLength(2);
  });

  test("is separate for the database and for the pipeline", () => {
    const trial = new Trial();
    trial.databaseFault = "a";
    trial.pipelineFault = "b";
    trial.pass(10);
    expect(trial.timeline).toEqual(["pipeline_failure +1", "db_connection_failure +6"]);
  });
});
