import { describe, expect, test } from "bun:test";
import type { HourDelta } from "../../shared/event.ts";
import { KnownUsers } from "../../shared/pipeline/known-users.ts";

function delta(hour: number, eventType: string, users: readonly string[]): HourDelta {
  return {
    hour,
    eventType,
    totalEvents: users.length,
    totalDurationMs: 0n,
    durationCount: 0,
    lateEvents: 0,
    unsavedEvents: 0,
    newUserCandidates: users,
  };
}

describe("known users", () => {
  test("are known for their own hour and type only", () => {
    const known = new KnownUsers();
    known.committed([delta(1, "a", ["u", "v"]), delta(1, "b", ["w"])]);
    known.committed([delta(1, "a", ["x"])]);
    expect(known.of(1, "a")).toEqual(new Set(["u", "v", "x"]));
    expect(known.of(1, "b")).toEqual(new Set(["w"]));
    expect(known.of(2, "a")).toBeUndefined();
    expect(known.of(1, "c")).toBeUndefined();
  });

  test("are all forgotten when the next ones would not fit", () => {
    const known = new KnownUsers(10);
    known.committed([delta(1, "a", ["u1", "u2", "u3", "u4"])]);
    known.committed([delta(2, "a", ["u1", "u2", "u3", "u4"])]);
    expect(known.of(1, "a")?.size).toBe(4);
    known.committed([delta(3, "a", ["u1"])]);
    expect([known.of(1, "a"), known.of(2, "a")]).toEqual([undefined, undefined]);
    expect(known.of(3, "a")).toEqual(new Set(["u1"]));
  });

  test("count hours and types without users towards the limit", () => {
    const known = new KnownUsers(10);
    for (let hour = 0; hour < 100; hour++) known.committed([delta(hour, "a", [])]);
    const held = Array.from({ length: 100 }, (_, hour) => known.of(hour, "a")).filter(
      (users) => users !== undefined,
    );
    expect(held.length).toBeGreaterThan(0);
    expect(held.length).toBeLessThanOrEqual(10);
  });

  test.each([1, 7, 50])("stay within the limit for any number of users in batches of %d", (batchSize) => {
    const bound = 1000;
    const known = new KnownUsers(bound);
    const hours = 20;
    for (let n = 0; n < 10_000; n += batchSize) {
      known.committed([
        delta(
          n % hours,
          "a",
          Array.from({ length: batchSize }, (_, i) => `user_${n + i}`),
        ),
      ]);
      let held = 0;
      for (let hour = 0; hour < hours; hour++) held += known.of(hour, "a")?.size ?? 0;
      expect(held).toBeLessThanOrEqual(bound);
      expect(held).toBeGreaterThan(0);
    }
  });

  test("count the length of their ids towards a limit", () => {
    const known = new KnownUsers(1000, 100);
    const ids = (from: number) => Array.from({ length: 4 }, (_, i) => `${from + i}`.padEnd(10, "日"));
    known.committed([delta(1, "a", ids(0))]);
    known.committed([delta(1, "a", ids(4))]);
    expect(known.of(1, "a")?.size).toBe(8);
    known.committed([delta(1, "a", ids(8))]);
    expect([...known.of(1, "a")!]).toEqual(ids(8));
  });

  test("start empty again after a clear", () => {
    const known = new KnownUsers(10);
    known.committed([delta(1, "a", ["u"])]);
    known.clear();
    expect(known.of(1, "a")).toBeUndefined();
    known.committed([delta(1, "a", ["v"])]);
    expect(known.of(1, "a")).toEqual(new Set(["v"]));
  });
});
