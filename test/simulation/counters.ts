// Counts what happened in histories: a fault that never happened proves nothing.

/** What must have happened at least once in many histories. */
export const SOMETIMES = [
  "resync: fence",
  "resync: connection",
  "resync: transient",
  "resync: blocked",
  "resync: schema",
  "resync: access",
  "resync: kafka",
  "resync: lost",
  "resync: topic_changed",
  "resync: delivery",
  "resync: invariant",
  "fence failed by a zombie",
  "fence failed by a crash",
  "COPY repeated as INSERT",
  "duplicate within a partition",
  "duplicate across partitions",
  "revocation without a transaction in flight",
  "revocation with a transaction in flight",
  "revocation answered at its deadline",
  "out of range",
  "truncation",
  "rewound",
  "pruned",
  "expired",
  "truncation noticed at the start",
  "truncation noticed while reading",
  "records deleted before they were read",
  "unreadable batch",
  "stuck peers ended",
  "wake-up missed",
  "answer to a queued rebalance given early",
  "crash took commits back",
  "trouble in one partition",
  "without raw rows",
  "classic protocol",
  "consumer protocol",
] as const;

export type Sometimes = (typeof SOMETIMES)[number];

export class Counters {
  readonly #counts = new Map<string, number>();

  /** @param what one of SOMETIMES, or the name of a fault */
  count(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times);
  }

  merge(other: Counters): void {
    for (const [what, times] of other.#counts) this.count(what, times);
  }

  get(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** All that was counted, by name. */
  entries(): [what: string, times: number][] {
    return [...this.#counts].toSorted(([a], [b]) => (a < b ? -1 : 1));
  }

  /** What should have happened, and never did. @param names in addition to SOMETIMES */
  missing(names: readonly string[]): string[] {
    return [...SOMETIMES, ...names].filter((what) => this.get(what) === 0);
  }
}
