import { expect, test } from "bun:test";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { ProgressLog } from "../../workers/consumer/progress-log.ts";

test("the progress log writes a line only after records were consumed, or while records wait", () => {
  const lines: unknown[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  const metrics = new MetricsRegistry();
  const progress = new ProgressLog(metrics, makeLogger("test", "info", { destination }));
  progress.logProgress();
  expect(lines).toHaveLength(0);
  metrics.add("events_consumed_total", 10, "t");
  metrics.add("events_processed_total", 7, "click");
  metrics.add("duplicate_events_total", 2, "t");
  metrics.add("dead_letter_events_total", 1, "not_json");
  progress.logProgress();
  progress.logProgress();
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
  progress.logProgress();
  progress.logProgress();
  expect(lines).toHaveLength(3);
  expect(lines[2]).toMatchObject({ consumed: 10, lag: 7 });
  progress.finish();
  expect(lines[3]).toMatchObject({ msg: "stopped", consumed: 10, stored: 7 });
});
