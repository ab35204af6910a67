// Generates what sessions do with the database, one step at a time.

import fc from "fast-check";

/** Some raw events, by the numbers of their ids; one of them may be an event that PostgreSQL refuses. */
export interface EventsOf {
  readonly ids: readonly number[];
  readonly hasRefused: boolean;
}

/** A delta of one hour and type. */
export interface Delta {
  readonly hour: number;
  readonly type: number;
  readonly users: readonly number[];
}

/** A step inside a transaction; the first one begins it. */
export type TransactionStep =
  | { readonly kind: "fence"; readonly partitions: readonly number[]; readonly isStale: boolean }
  | { readonly kind: "lock readings"; readonly partitions: readonly number[] }
  | ({ readonly kind: "copy" | "look up and copy" | "insert" | "probe" } & EventsOf)
  | { readonly kind: "dead letter"; readonly partition: number; readonly offset: number }
  | { readonly kind: "hours"; readonly deltas: readonly Delta[] }
  | { readonly kind: "advance"; readonly partition: number; readonly by: number; readonly isStale: boolean }
  | { readonly kind: "raise cut-off" | "seal hours" }
  | { readonly kind: "commit" }
  | { readonly kind: "rollback" };

/** A step outside of a transaction. */
export type LoneStep =
  | { readonly kind: "enter"; readonly partitions: readonly number[] }
  | { readonly kind: "read positions" }
  | { readonly kind: "skip"; readonly partition: number; readonly by: number; readonly isStale: boolean }
  | { readonly kind: "read again"; readonly partition: number; readonly isStale: boolean }
  | { readonly kind: "close hours" }
  /** A whole batch, by the Store. */
  | ({ readonly kind: "store"; readonly partition: number; readonly isStale: boolean } & EventsOf);

export type Operation = TransactionStep | LoneStep;

/** Whose turn it is, and what it does. */
export interface Turn {
  readonly actor: number;
  readonly operation: Operation;
}

/** Partitions 0 and 1 are there at first, 2 is not. */
export const PARTITIONS = [0, 1, 2];

/** Actor 2 only takes lone steps, and waits for no lock for long: two actors never wait for the same one. */
export const BYSTANDER = 2;

const partition = fc.constantFrom(...PARTITIONS);
const partitions = fc.uniqueArray(partition, { minLength: 1 });
const isStale = fc.constantFrom(false, false, false, true);
const by = fc.integer({ min: 1, max: 3 });
const events = {
  ids: fc.uniqueArray(fc.nat({ max: 5 }), { minLength: 1, maxLength: 4 }),
  hasRefused: fc.constantFrom(false, false, false, false, true),
};
const deltas = fc.uniqueArray(
  fc.record({
    hour: fc.nat({ max: 1 }),
    type: fc.nat({ max: 1 }),
    users: fc.uniqueArray(fc.nat({ max: 3 })),
  }),
  { selector: ({ hour, type }) => `${hour} ${type}`, minLength: 1 },
);

const kind = <const Kind extends string>(name: Kind) => ({ kind: fc.constant(name) });

const lone: fc.Arbitrary<LoneStep> = fc.oneof(
  fc.record({ ...kind("enter"), partitions }),
  fc.record(kind("read positions")),
  fc.record({ ...kind("skip"), partition, by, isStale }),
  fc.record({ ...kind("read again"), partition, isStale }),
  fc.record(kind("close hours")),
  { weight: 3, arbitrary: fc.record({ ...kind("store"), partition, isStale, ...events }) },
);

const inTransaction: fc.Arbitrary<TransactionStep> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ ...kind("fence"), partitions, isStale }) },
  fc.record({ ...kind("lock readings"), partitions }),
  { weight: 2, arbitrary: fc.record({ ...kind("copy"), ...events }) },
  { weight: 2, arbitrary: fc.record({ ...kind("look up and copy"), ...events }) },
  { weight: 2, arbitrary: fc.record({ ...kind("insert"), ...events }) },
  fc.record({ ...kind("probe"), ...events }),
  fc.record({ ...kind("dead letter"), partition, offset: fc.nat({ max: 1 }) }),
  { weight: 2, arbitrary: fc.record({ ...kind("hours"), deltas }) },
  { weight: 2, arbitrary: fc.record({ ...kind("advance"), partition, by, isStale }) },
  fc.record(kind("raise cut-off")),
  fc.record(kind("seal hours")),
  { weight: 3, arbitrary: fc.record(kind("commit")) },
  fc.record(kind("rollback")),
);

const turn: fc.Arbitrary<Turn> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ actor: fc.constantFrom(0, 1), operation: inTransaction }),
  },
  { weight: 1, arbitrary: fc.record({ actor: fc.constantFrom(0, 1, BYSTANDER), operation: lone }) },
);

export const turns: fc.Arbitrary<readonly Turn[]> = fc.array(turn, {
  minLength: 3,
  maxLength: 40,
  size: "max",
});

const TRANSACTION_STEPS: ReadonlySet<string> = new Set<TransactionStep["kind"]>([
  "fence",
  "lock readings",
  "copy",
  "look up and copy",
  "insert",
  "probe",
  "dead letter",
  "hours",
  "advance",
  "raise cut-off",
  "seal hours",
  "commit",
  "rollback",
]);

export function isTransactionStep(operation: Operation): operation is TransactionStep {
  return TRANSACTION_STEPS.has(operation.kind);
}
