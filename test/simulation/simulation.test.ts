// Tests that histories hold, and that each is decided by its seed alone.
import { describe, expect, test } from "bun:test";
import { runHistory } from "./history.ts";
import { VirtualTime } from "./virtual-time.ts";
import { withVirtualGlobals } from "./virtual-globals.ts";
import { SeededChoices, seededRandom } from "../support/seeded-random.ts";
import { World } from "./world.ts";

describe("a history", () => {
  test("is the very same for the same seed", { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= 20; seed++) {
      const [first, second] = [runHistory(seed), runHistory(seed)];
      expect(first.trace.lines().length).toBeGreaterThan(10);
      expect({ seed, hash: second.trace.hash() }).toEqual({ seed, hash: first.trace.hash() });
    }
    expect(runHistory(1).trace.hash()).not.toBe(runHistory(2).trace.hash());
  });

  test("holds for any seed", { timeout: 120_000 }, () => {
    const seed = Number(process.env["SIMULATE_SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    const failed: string[] = [];
    for (let n = 0; n < 300; n++) {
      const history = runHistory(seed + n);
      if (history.failure !== undefined) failed.push(`${history.seed}: ${history.failure}`);
    }
    expect(
      failed,
      `run "bun run simulate --seed N --histories 1 --verbose" with the number before the colon`,
    ).toEqual([]);
  });
});

/** @returns the virtual time that an idle worker takes to notice that its session is lost, ms */
function noticesLostSessionAfterMs(seed: number): number {
  const choices = new SeededChoices(seed);
  const time = new VirtualTime(choices.random);
  return withVirtualGlobals(time, () => {
    const world = new World(time, choices);
    world.cluster.createTopic("user-events", [0]);
    world.startConsumer();
    time.runUntil(3000 + choices.below(250));
    const startMs = time.nowMs();
    world.postgres.terminate(world.postgres.backendPids[0]!);
    time.runUntil(startMs + 1000, () => world.counters.get("resync: connection") > 0);
    return time.nowMs() - startMs;
  });
}

describe("a worker without work", () => {
  test("notices at once that its session is lost", () => {
    for (let seed = 1; seed <= 20; seed++) {
      expect(noticesLostSessionAfterMs(seed), `seed ${seed}`).toBeLessThan(20);
    }
  });
});

describe("virtual time", () => {
  const make = () => new VirtualTime(seededRandom(1));

  test("runs what is planned in the order of its moments, and of two for one moment the first planned one first", () => {
    const time = make();
    const order: string[] = [];
    for (const [name, ms] of [
      ["c", 20],
      ["a", 10],
      ["b", 10],
      ["d", 30],
    ] as const) {
      time.after(ms, () => order.push(`${name} at ${time.nowMs()}`));
    }
    time.runUntil(25);
    expect(order).toEqual(["a at 10", "b at 10", "c at 20"]);
    expect(time.nowMs()).toBe(25);
  });

  test("settles all promises before it goes on", () => {
    const time = make();
    const order: string[] = [];
    time.after(1, () => {
      void (async () => {
        for (let n = 0; n < 100; n++) await undefined;
        order.push("settled");
      })();
    });
    time.after(1, () => order.push("next"));
    time.runUntil(1);
    expect(order).toEqual(["settled", "next"]);
  });

  test("does not run what was cancelled", () => {
    const time = make();
    let runs = 0;
    const timer = time.after(1, () => runs++);
    time.after(0, () => timer.cancel());
    time.runUntil(2);
    expect(runs).toBe(0);
  });

  test("rules the clocks and timers of the runtime while a history runs", () => {
    const time = make();
    const seen = withVirtualGlobals(time, () => {
      const found: number[] = [];
      setTimeout(() => found.push(performance.now()), 3_600_000);
      time.runUntil(4_000_000);
      expect(() => setImmediate(() => undefined)).toThrow("setImmediate is used in a history");
      return found;
    });
    expect(seen).toEqual([3_600_000]);
    expect(performance.now()).toBeLessThan(3_600_000);
  });
});
