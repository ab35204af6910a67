// Declares how one table is pruned: in steps, each a short transaction.

import type { Session, Transaction } from "../session.ts";

export type PrunedTable = "raw_events" | "hourly_users" | "dead_letter_events" | "pipeline_metrics";

/** One step of pruning. */
export interface PruneStep {
  /** @returns the rows that it has deleted */
  run(tx: Transaction): Promise<number>;
  /** The COMMIT was answered. @param ms what `run` took */
  committed(rows: number, ms: number): void;
}

/** Prunes one table. It may remember where it is, and finds it again without that. */
export interface Pruner {
  readonly table: PrunedTable;
  /** The next step; undefined where nothing is left to delete. It changes nothing. */
  next(session: Session): Promise<PruneStep | undefined>;
  /** A step has failed, or it is not known whether it was committed. */
  forget(): void;
}
