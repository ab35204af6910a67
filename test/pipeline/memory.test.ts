import { describe, expect, test } from "bun:test";
import type { HourDelta } from "../../shared/event.ts";
import { RecentIds, KnownUserCache } from "../../shared/pipeline/memory.ts";

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
    const memory = new KnownUserCache();
    memory.committed([delta(1, "a", ["u", "v"]), delta(1, "b", ["w"])]);
    memory.committed([delta(1, "a", ["x"])]);
    expect(memory.of(1, "a")).toEqual(new Set(["u", "v", "x"]));
    expect(memory.of(1, "b")).toEqual(new Set(["w"]));
    expect(memory.of(2, "a")).toBeUndefined();
    expect(memory.of(1, "c")).toBeUndefined();
  });

  test("when the next ones would not fit, all are forgotten first: fewer known is never wrong", () => {
    const memory = new KnownUserCache(10);
    memory.committed([delta(1, "a", ["u1", "u2", "u3", "u4"])]);
    memory.committed([delta(2, "a", ["u1", "u2", "u3", "u4"])]);
    expect(memory.of(1, "a")?.size).toBe(4);
    memory.committed([delta(3, "a", ["u1"])]);
    expect([memory.of(1, "a"), memory.of(2, "a")]).toEqual([undefined, undefined]);
    expect(memory.of(3, "a")).toEqual(new Set(["u1"]));
  });

  test("hours and types without new users count as well, for they are an open set too", () => {
    const memory = new KnownUserCache(10);
    for (let hour = 0; hour < 100; hour++) memory.committed([delta(hour, "a", [])]);
    const held = Array.from({ length: 100 }, (_, hour) => memory.of(hour, "a")).filter(
      (users) => users !== undefined,
    );
    expect(held.length).toBeGreaterThan(0);
    expect(held.length).toBeLessThanOrEqual(10);
  });

  test.each([1, 7, 50])("the bound holds against a hostile set of users, batches of %d", (batchSize) => {
    const bound = 1000;
    const memory = new KnownUserCache(bound);
    const hours = 20;
    for (let n = 0; n < 10_000; n += batchSize) {
      memory.committed([
        delta(
          n % hours,
          "a",
          Array.from({ length: batchSize }, (_, i) => `user_${n + i}`),
        ),
      ]);
      let held = 0;
      for (let hour = 0; hour < hours; hour++) held += memory.of(hour, "a")?.size ?? 0;
      expect(held).toBeLessThanOrEqual(bound);
      expect(held).toBeGreaterThan(0);
    }
  });

  test("cleared, it knows nobody, and fills again", () => {
    const memory = new KnownUserCache(10);
    memory.committed([delta(1, "a", ["u"])]);
    memory.clear();
    expect(memory.of(1, "a")).toBeUndefined();
    memory.committed([delta(1, "a", ["v"])]);
    expect(memory.of(1, "a")).toEqual(new Set(["v"]));
  });
});

describe("recent ids", () => {
  test("the last ones are known, at least as many as the size says, and at most twice as many", () => {
    const size = 100;
    const recent = new RecentIds(size);
    for (let n = 0; n < 1000; n++) {
      expect(recent.has(`id_${n}`)).toBe(false);
      recent.committed([`id_${n}`]);
      let known = 0;
      for (let m = 0; m <= n; m++) if (recent.has(`id_${m}`)) known++;
      expect(known).toBeGreaterThanOrEqual(Math.min(n + 1, size));
      expect(known).toBeLessThanOrEqual(2 * size);
      // What is known is the newest, without a gap.
      expect(recent.has(`id_${n + 1 - known}`)).toBe(true);
      expect(recent.has(`id_${n - known}`)).toBe(false);
    }
  });

  test("ids that come again do not push others out", () => {
    const recent = new RecentIds(3);
    recent.committed(["a", "b"]);
    for (let n = 0; n < 10; n++) recent.committed(["b"]);
    expect(recent.has("a")).toBe(true);
  });

  test("cleared, it knows none", () => {
    const recent = new RecentIds(2);
    recent.committed(["a", "b"]);
    recent.committed(["c"]);
    recent.clear();
    expect(["a", "b", "c"].map((id) => recent.has(id))).toEqual([false, false, false]);
  });
});
