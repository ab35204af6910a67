// Describes a fault that a test injects into a healthy database.

export interface Fault {
  readonly what: string;
  /** Changes exactly one row, so that a fault that was not injected is noticed. */
  readonly sql: string;
  /** The invariants that it contradicts, in the report's order. */
  readonly breaks: readonly string[];
}
