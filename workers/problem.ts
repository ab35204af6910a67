// Defines what a health check reports: one problem of a program, in one sentence.

export interface Problem<Kind extends string = string> {
  readonly kind: Kind;
  /** `critical`: records are not stored, or not delivered. */
  readonly severity: "warning" | "critical";
  /**
   * The same sentence in /readyz, in the alerts and on the page. It holds no figure that changes while the problem
   * stays the same: screen readers read the page's copy out each time it changes.
   */
  readonly message: string;
}
