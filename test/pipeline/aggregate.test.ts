import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { HourDelta, PipelineEvent } from "../../shared/event.ts";
import {
  aggregate as aggregateBatch,
  type AggregationOptions,
  HOUR_MS,
} from "../../shared/pipeline/aggregate.ts";
import { KnownUsers } from "../../shared/pipeline/known-users.ts";

const NOBODY = new KnownUsers();
/** 2026-03-14T09:00:00Z */
const HOUR = 492_633;
const OPTIONS = { processedAtMs: HOUR * HOUR_MS, hourGraceMs: 300_000, unsaved: false };

function event(changes: Partial<PipelineEvent> = {}): PipelineEvent {
  return {
    eventId: "e",
    userId: "user",
    eventType: "page_view",
    timestampMs: HOUR * HOUR_MS,
    timestampMicros: 0,
    eventDataText: "{}",
    purchaseAmount: undefined,
    durationMs: undefined,
    ...changes,
  };
}

function aggregate(events: readonly PipelineEvent[], known: KnownUsers, options: AggregationOptions) {
  const columns = {
    userId: events.map(({ userId }) => userId),
    eventType: events.map(({ eventType }) => eventType),
    timestampMs: events.map(({ timestampMs }) => timestampMs),
    durationMs: events.map(({ durationMs }) => durationMs ?? Number.NaN),
  };
  return aggregateBatch(columns, events.keys(), known, options);
}

function only(deltas: HourDelta[]): HourDelta {
  expect(deltas).toHaveLength(1);
  return deltas[0]!;
}

test("aggregate makes no delta of no events", () => {
  expect(aggregate([], NOBODY, OPTIONS)).toEqual([]);
});

describe("the hour of an event", () => {
  test.each<[offsetMs: number, hour: number]>([
    [-1, HOUR - 1],
    [0, HOUR],
    [1, HOUR],
    [HOUR_MS - 1, HOUR],
    [HOUR_MS, HOUR + 1],
  ])("is right %d ms after the full hour", (offsetMs, hour) => {
    expect(only(aggregate([event({ timestampMs: HOUR * HOUR_MS + offsetMs })], NOBODY, OPTIONS)).hour).toBe(
      hour,
    );
  });

  test("does not change with the microseconds of the timestamp", () => {
    const last = event({ timestampMs: (HOUR + 1) * HOUR_MS - 1, timestampMicros: 999 });
    expect(only(aggregate([last], NOBODY, OPTIONS)).hour).toBe(HOUR);
  });

  test("reaches from the first hour of 1970 to the last of 9999", () => {
    const deltas = aggregate(
      [event({ timestampMs: 0 }), event({ timestampMs: Date.UTC(9999, 11, 31, 23, 59, 59, 999) })],
      NOBODY,
      OPTIONS,
    );
    expect(deltas.map(({ hour }) => hour)).toEqual([0, 70_389_527]);
  });
});

describe("an event's lateness", () => {
  const dueMs = (HOUR + 1) * HOUR_MS + OPTIONS.hourGraceMs;
  test.each<[what: string, processedAtMs: number, late: number]>([
    ["before the hour has ended", dueMs - OPTIONS.hourGraceMs - 1, 0],
    ["within the grace", dueMs - 1, 0],
    ["at its end", dueMs, 2],
    ["long after", dueMs + 1e12, 2],
  ])("is right for an event processed %s", (_what, processedAtMs, late) => {
    const events = [event(), event({ timestampMs: (HOUR + 1) * HOUR_MS - 1 })];
    const delta = only(aggregate(events, NOBODY, { ...OPTIONS, processedAtMs }));
    expect(delta).toMatchObject({ totalEvents: 2, lateEvents: late });
  });
});

describe("the sum of durations", () => {
  const LONGEST_MS = 1e12;

  test("counts only events with a duration, and a duration of 0 too", () => {
    const delta = only(
      aggregate([event({ durationMs: 0 }), event(), event({ durationMs: 1500 })], NOBODY, OPTIONS),
    );
    expect(delta).toMatchObject({ totalEvents: 3, durationCount: 2, totalDurationMs: 1500n });
  });

  test("is exact beyond 2^53", () => {
    // 2^53 / 1e12 is about 9007 of the longest durations
    const count = 30_001;
    const events = Array.from({ length: count }, () => event({ durationMs: LONGEST_MS - 1 }));
    const delta = only(aggregate(events, NOBODY, OPTIONS));
    expect(delta.totalDurationMs).toBe(BigInt(count) * BigInt(LONGEST_MS - 1));
    expect(delta.totalDurationMs > 2n ** 53n).toBe(true);
    // The same sum in plain numbers is wrong, so this test can fail.
    const plainSum = events.reduce((sum, { durationMs }) => sum + (durationMs ?? 0), 0);
    expect(BigInt(plainSum)).not.toBe(delta.totalDurationMs);
  });
});

describe("the candidates for new users", () => {
  test("contain each user once per hour and type", () => {
    const deltas = aggregate(
      [
        event({ userId: "a" }),
        event({ userId: "b" }),
        event({ userId: "a" }),
        event({ userId: "a", eventType: "login" }),
        event({ userId: "a", timestampMs: (HOUR + 1) * HOUR_MS }),
      ],
      NOBODY,
      OPTIONS,
    );
    expect(
      deltas.map(({ hour, eventType, newUserCandidates }) => [hour, eventType, newUserCandidates]),
    ).toEqual([
      [HOUR, "page_view", ["a", "b"]],
      [HOUR, "login", ["a"]],
      [HOUR + 1, "page_view", ["a"]],
    ]);
  });

  test("leave out users that are known for the same hour and type", () => {
    const known = new KnownUsers();
    const events = [event({ userId: "a" }), event({ userId: "b" })];
    known.committed(aggregate(events.slice(0, 1), known, OPTIONS));
    expect(only(aggregate(events, known, OPTIONS)).newUserCandidates).toEqual(["b"]);
    const elsewhere = events.flatMap(({ userId }) => [
      event({ userId, eventType: "login" }),
      event({ userId, timestampMs: (HOUR + 1) * HOUR_MS }),
    ]);
    expect(aggregate(elsewhere, known, OPTIONS).map(({ newUserCandidates }) => newUserCandidates)).toEqual([
      ["a", "b"],
      ["a", "b"],
    ]);
  });

  test("accept names that have a meaning in JavaScript", () => {
    const names = ["__proto__", "constructor", "toString", ""];
    const events = names.map((name) => event({ userId: name, eventType: name }));
    expect(
      aggregate(events, NOBODY, OPTIONS).map(({ eventType, newUserCandidates }) => [
        eventType,
        newUserCandidates,
      ]),
    ).toEqual(names.map((name) => [name, [name]]));
  });
});

test("aggregate counts events without raw rows as unsaved", () => {
  const events = [event(), event()];
  expect(only(aggregate(events, NOBODY, { ...OPTIONS, unsaved: true })).unsavedEvents).toBe(2);
  expect(only(aggregate(events, NOBODY, OPTIONS)).unsavedEvents).toBe(0);
});

const arbitraryEvent = fc.record({
  userId: fc.constantFrom("a", "b", "c", "d"),
  eventType: fc.constantFrom("page_view", "login", "purchase"),
  timestampMs: fc.oneof(
    fc.integer({ min: (HOUR - 2) * HOUR_MS, max: (HOUR + 2) * HOUR_MS }),
    fc.constantFrom(HOUR * HOUR_MS - 1, HOUR * HOUR_MS, (HOUR + 1) * HOUR_MS),
  ),
  durationMs: fc.option(fc.oneof(fc.constant(1e12), fc.integer({ min: 0, max: 1e12 })), { nil: undefined }),
});

test("aggregate equals a plain GROUP BY in any order and any batches", () => {
  fc.assert(
    fc.property(
      fc.array(arbitraryEvent, { maxLength: 60 }),
      fc.integer({ min: 1, max: 9 }),
      (changes, batchSize) => {
        const events = changes.map((change) => event(change));
        const known = new KnownUsers();
        const sums = new Map<
          string,
          { events: number; durationMs: bigint; durations: number; users: number }
        >();
        for (let at = 0; at < events.length; at += batchSize) {
          const deltas = aggregate(events.slice(at, at + batchSize), known, OPTIONS);
          known.committed(deltas);
          for (const delta of deltas) {
            const key = `${delta.hour} ${delta.eventType}`;
            const sum = sums.get(key) ?? { events: 0, durationMs: 0n, durations: 0, users: 0 };
            sums.set(key, {
              events: sum.events + delta.totalEvents,
              durationMs: sum.durationMs + delta.totalDurationMs,
              durations: sum.durations + delta.durationCount,
              users: sum.users + delta.newUserCandidates.length,
            });
          }
        }
        const expected = Map.groupBy(events, (e) => `${Math.floor(e.timestampMs / HOUR_MS)} ${e.eventType}`);
        expect(Object.fromEntries(sums)).toEqual(
          Object.fromEntries(
            [...expected].map(([key, group]) => {
              const durations = group.flatMap(({ durationMs }) =>
                durationMs === undefined ? [] : [BigInt(durationMs)],
              );
              return [
                key,
                {
                  events: group.length,
                  durationMs: durations.reduce((sum, ms) => sum + ms, 0n),
                  durations: durations.length,
                  users: new Set(group.map(({ userId }) => userId)).size,
                },
              ];
            }),
          ),
        );
      },
    ),
    { numRuns: 500 },
  );
});
