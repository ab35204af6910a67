// Declares what a history decides about its model of PostgreSQL, and what it hears of it.

import type { CommittedTransaction, Tables } from "./tables.ts";

export interface PostgresModelOptions {
  readonly consumerGroup: string;
  /** The database's clock at the beginning, ms since 1970. */
  readonly epochMs: number;
  readonly maxConnections: number;
  /** A transaction that has waited for a lock this long looks for a deadlock. */
  readonly deadlockTimeoutMs: number;
  /** Called in each COMMIT that takes effect and has changed something, before anybody hears of it. */
  readonly onCommit?: (tables: Tables, transaction: CommittedTransaction) => void;
  /** Called when a crash has taken commits back, newest first. */
  readonly onLost?: (tables: Tables, lost: readonly CommittedTransaction[]) => void;
  /** Called when transactions wait for each other, before the first one is ended. */
  readonly onDeadlock?: (members: readonly DeadlockMember[]) => void;
  /** Hears of everything that happens, in words. */
  readonly trace?: (text: string) => void;
}

/** One of the transactions of a deadlock. */
export interface DeadlockMember {
  readonly backendPid: number;
  /** The name of the statement that waits. */
  readonly statement: string;
  readonly isInSavepoint: boolean;
}
