// Errors that end a program or decide what it does next; each message is written for the person who reads it.

/** Wrong configuration or usage: every problem at once. The program prints them and exits with 2. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.problems = problems;
  }
}

/** Something that no retry mends. The program prints the message (one clear sentence) and exits with 1. */
export class FatalError extends Error {
  override readonly name = "FatalError";
}

/** The message of anything thrown, for a log line. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code that an error carries as text (a system error's `ENOENT`, an SQLSTATE), if it carries one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/**
 * Everything else ends in a throw, a closed union in `never`: a forgotten case fails to compile.
 * @throws always
 */
export function assertNever(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
