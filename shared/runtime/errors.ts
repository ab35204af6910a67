// Defines the errors that end a program with a message for a person, and reads the parts of any error.

/** Every problem of a wrong configuration or usage. The program prints the problems and exits with 2. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** A failure that no retry fixes. The program prints the message, one clear sentence, and exits with 1. */
export class FatalError extends Error {
  override readonly name = "FatalError";
}

/**
 * Something holds no longer that the exactly-once promise rests on. The worker throws away what it built and reads it
 * again: better to repeat work than to store a wrong row.
 */
export class InvariantViolated extends Error {
  override readonly name = "InvariantViolated";
}

/** The message of any thrown value, for a log line. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code that an error carries as text (a system error's `ENOENT`, an SQLSTATE), if it carries one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Ends a switch over a closed union, so that a forgotten case fails to compile.
 * @throws always
 */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
