// Nothing in; a state of the demo that stands still, to be rendered, out.
import type { Snapshot } from "../../workers/demo/snapshot.ts";

const HOUR = new Date("2026-03-14T09:00:00Z");

/** A demo in its 83rd second. */
export function snapshotWith(changes: Partial<Snapshot> = {}): Snapshot {
  const history = Array.from({ length: 82 }, (_, second) => (second < 5 ? second * 200 : 1000));
  return {
    phase: "producing",
    elapsedMs: 83_400,
    limitMs: 120_000,
    rate: 1000,
    isHeldBack: false,
    produced: { total: 82_310, perSecond: 1000.4, history },
    consumed: { total: 82_299, perSecond: 998.7, history },
    partitions: [0, 1, 2, 3, 4, 5].map((partition) => ({ partition, lag: partition * 25 })),
    latency: { p50: 0.0182, p99: 0.0441 },
    hours: [
      { hour: HOUR, eventType: "page_view", events: 37_035, uniqueUsers: 1000, averageSeconds: 150.24 },
      { hour: HOUR, eventType: "click", events: 20_575, uniqueUsers: 1000, averageSeconds: null },
      { hour: HOUR, eventType: "search", events: 12_345, uniqueUsers: 999, averageSeconds: 5.05 },
      { hour: HOUR, eventType: "purchase", events: 4120, uniqueUsers: 987, averageSeconds: null },
      { hour: HOUR, eventType: "login", events: 4112, uniqueUsers: 981, averageSeconds: null },
      { hour: HOUR, eventType: "logout", events: 4112, uniqueUsers: 979, averageSeconds: null },
    ],
    outcome: { stored: 82_135, duplicates: 82, deadLettered: 82 },
    deadLetters: [
      { reason: "not_json", count: 14 },
      { reason: "missing_field", count: 14 },
    ],
    newestDeadLetters: [{ partition: 3, offset: 13_702, reason: "missing_field", error: "user_id: missing" }],
    databaseBytes: 48_300_000,
    endpoints: {
      consoleUrl: "http://localhost:8002/",
      psql: "psql postgresql://demo:0a1b2c3d@127.0.0.1:23456/demo",
      consumerLog: "/tmp/event-pipeline-postgres-AbCdEf/consumer.log",
    },
    ...changes,
  };
}
