// Builds a fixed state of the demo for the tests of its views.
import type { Hours } from "../../shared/api-schema.ts";
import type { Snapshot } from "../../workers/demo/run.ts";

type EventType = Hours["hours"][number]["types"][number];

const HOUR_MS = 3_600_000;
const NEWEST_HOUR_MS = Date.UTC(2026, 2, 14, 9);

export function eventType(name: string, events: number, changes: Partial<EventType> = {}): EventType {
  return { eventType: name, events, uniqueUsers: 1000, averageSeconds: null, lateEvents: 0, ...changes };
}

const TYPES = [
  eventType("page_view", 37_035, { averageSeconds: 150.24 }),
  eventType("click", 20_575),
  eventType("search", 12_345, { uniqueUsers: 999, averageSeconds: 5.05 }),
  eventType("purchase", 4120, { uniqueUsers: 987 }),
  eventType("login", 4112, { uniqueUsers: 981 }),
  eventType("logout", 4112, { uniqueUsers: 979 }),
];

export const NEWEST_HOUR = { startMs: NEWEST_HOUR_MS, isClosed: false, types: TYPES, others: null };
export const EARLIER_HOUR = {
  startMs: NEWEST_HOUR_MS - HOUR_MS,
  isClosed: true,
  types: [eventType("page_view", 1000), eventType("click", 500)],
  others: { types: 3, events: 7 },
};

export function deadLetter(reason: string, error: string) {
  return {
    topic: "user-events",
    topicId: "dG9waWM",
    partition: 3,
    reading: 0,
    offset: 13_702,
    stage: "validate",
    reason,
    error,
    firstSeenAtMs: NEWEST_HOUR_MS,
    state: "open",
    value: null,
  };
}

/** A demo in its 83rd second. */
export function snapshotWith(changes: Partial<Snapshot> = {}): Snapshot {
  const seconds = Array.from({ length: 82 }, (_, second) => (second < 5 ? second * 200 : 1000));
  return {
    phase: "producing",
    elapsedMs: 83_400,
    limitMs: 120_000,
    rate: 1000,
    isHeldBack: false,
    produced: { total: 82_310, rate: 1000.4, seconds },
    consumed: { total: 82_299, rate: 998.7, seconds },
    lag: [0, 1, 2, 3, 4, 5].map((partition) => ({ partition, lag: partition * 25 })),
    age: { p50: 0.0182, p95: 0.0312, p99: 0.0441 },
    totals: { consumed: 82_299, stored: 82_135, duplicates: 82, deadLetters: 82 },
    hours: [NEWEST_HOUR],
    deadLetters: {
      database: { state: "current", sinceMs: 0, readAtMs: null, reason: null },
      total: 82,
      discarded: 0,
      replayed: 0,
      byReason: [
        { reason: "not_json", count: 14 },
        { reason: "missing_field", count: 14 },
      ],
      newest: [deadLetter("missing_field", "user_id: missing")],
    },
    endpoints: {
      consoleUrl: "http://localhost:8002/",
      psql: "psql postgresql://demo:0a1b2c3d@127.0.0.1:23456/demo",
      consumerLog: "/tmp/event-pipeline-postgres-AbCdEf/consumer.log",
    },
    ...changes,
  };
}
