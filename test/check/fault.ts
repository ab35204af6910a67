// What is done to a healthy database, and the proofs that it contradicts.

/** A fault to plant. */
export interface Fault {
  readonly what: string;
  /** Must change exactly one row, so that no fault is missed because it was not planted. */
  readonly sql: string;
  /** The proofs that must turn false, in the report's order. */
  readonly breaks: readonly string[];
}
