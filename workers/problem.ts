// Describes a problem of a program in one sentence, the same for /readyz, the alerts and the page.

export interface Problem<Kind extends string = string> {
  readonly kind: Kind;
  /** `critical`: records are not stored, or not delivered. */
  readonly severity: "warning" | "critical";
  /** Holds no figure that changes while the problem stays the same: screen readers read each change of the page out. */
  readonly message: string;
}

/** The answer of /readyz. */
export function readinessOf(problems: readonly Problem[]): { ready: boolean; reasons: string[] } {
  return { ready: problems.length === 0, reasons: problems.map(({ message }) => message) };
}
