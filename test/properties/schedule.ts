// Generates schedules: which worker commits what, what goes wrong, and how partitions change hands.

import fc from "fast-check";
import type { Fault } from "./simulated-worker.ts";

/** One worker's commit. */
export interface Commit {
  /** The partition of each record of the batch, as an index into the worker's partitions, modulo their number. */
  readonly picks: readonly number[];
  /** The records of the batch that is built while this one is in flight. */
  readonly ahead: readonly number[];
  readonly fault: Fault;
}

export type Step =
  | { readonly kind: "one"; readonly worker: number; readonly commit: Commit }
  /** Both workers commit at once. */
  | { readonly kind: "both"; readonly commits: readonly [Commit, Commit] }
  /** The partition moves to the other worker; its owner is notified, or continues as a zombie. */
  | { readonly kind: "hand over"; readonly partition: number; readonly isNotified: boolean }
  | { readonly kind: "resync"; readonly worker: number; readonly how: "same connection" | "new connection" };

const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 8, arbitrary: fc.constant({ kind: "none" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "crash" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "lost answer" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("kill" as const), afterMs: fc.integer({ min: 0, max: 8 }) }),
  },
);

const picks = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 9 });

const commit: fc.Arbitrary<Commit> = fc.record({
  picks,
  ahead: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: picks }),
  fault,
});

const worker = fc.nat({ max: 1 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("one" as const), worker, commit }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("both" as const), commits: fc.tuple(commit, commit) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("hand over" as const),
      partition: fc.nat({ max: 3 }),
      isNotified: fc.constantFrom(true, false, false),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("resync" as const),
      worker,
      how: fc.constantFrom("same connection" as const, "new connection" as const),
    }),
  },
);

export const schedule: fc.Arbitrary<readonly Step[]> = fc.array(step, {
  minLength: 2,
  maxLength: 16,
  size: "max",
});
