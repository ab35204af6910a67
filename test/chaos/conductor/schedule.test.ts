// Tests which faults a chaos run has at the same time, and that each has its turn.
import { describe, expect, test } from "bun:test";
import { SeededChoices } from "../../support/seeded-random.ts";
import { FAULTS } from "./faults/all.ts";
import { type Lane, Schedule } from "./schedule.ts";

const SEEDS = [1, 2, 3, 4, 5];

function rounds(seed: number, count: number, seconds = 1000): Lane[][] {
  const schedule = new Schedule(FAULTS, new SeededChoices(seed));
  return Array.from({ length: count }, () => schedule.next(seconds));
}

function secondsOf(lane: Lane): number {
  return lane.reduce((sum, { fault }) => sum + fault.seconds, 0);
}

describe("the schedule of a chaos run", () => {
  test("is the same for the same seed", () => {
    const names = (seed: number) =>
      rounds(seed, 20).map((lanes) =>
        lanes.map((lane) => lane.map(({ fault, delayMs, seed: own }) => [fault.name, delayMs, own])),
      );
    expect(names(7)).toEqual(names(7));
    expect(names(7)).not.toEqual(names(8));
  });

  test("lets each fault come once before any comes twice", () => {
    for (const seed of SEEDS) {
      const times = new Map(FAULTS.map(({ name }) => [name, 0]));
      for (const lanes of rounds(seed, 60)) {
        for (const { fault } of lanes.flat()) times.set(fault.name, times.get(fault.name)! + 1);
        expect(Math.max(...times.values()) - Math.min(...times.values())).toBeLessThanOrEqual(1);
      }
    }
  });

  test("never breaks a part twice at the same time", () => {
    for (const lanes of SEEDS.flatMap((seed) => rounds(seed, 60))) {
      const parts = lanes.map((lane) => new Set(lane.flatMap(({ fault }) => fault.parts)));
      const together = parts.reduce((sum, { size }) => sum + size, 0);
      expect(new Set(parts.flatMap((set) => [...set])).size).toBe(together);
    }
  });

  test("has rounds of a single fault, whose recovery nothing else disturbs, and fuller ones", () => {
    const counts = rounds(1, 60).map((lanes) => lanes.flat().length);
    expect(counts).toContain(1);
    expect(Math.max(...counts)).toBeGreaterThan(4);
  });

  test("leaves out what takes longer than is left, and has nothing where all do", () => {
    const lanes = SEEDS.flatMap((seed) => rounds(seed, 60, 12)).flat();
    expect(lanes.length).toBeGreaterThan(0);
    expect(Math.max(...lanes.map(secondsOf))).toBeLessThanOrEqual(12);
    expect(rounds(1, 1, 0)).toEqual([[]]);
  });
});
