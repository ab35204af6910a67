import { expect, test } from "bun:test";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Progress } from "../../workers/consumer/pipeline-metrics.ts";

test("progress is said where there is any, or where records wait", () => {
  const lines: unknown[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const metrics = new MetricsRegistry();
  const progress = new Progress(metrics, makeLogger("test", "info", { destination }));
  progress.say();
  expect(lines).toHaveLength(0);
  metrics.add("events_consumed_total", 10, "t");
  metrics.add("events_processed_total", 7, "click");
  metrics.add("duplicate_events_total", 2, "t");
  metrics.add("dead_letter_events_total", 1, "not_json");
  progress.say();
  progress.say();
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({
    msg: "progress",
    consumed: 10,
    stored: 7,
    duplicates: 2,
    deadLetters: 1,
    lag: 0,
  });
  metrics.set("kafka_consumer_lag", 3, "t", "0");
  metrics.set("kafka_consumer_lag", 4, "t", "1");
  progress.say();
  progress.say();
  expect(lines).toHaveLength(3);
  expect(lines[2]).toMatchObject({ consumed: 10, lag: 7 });
});
