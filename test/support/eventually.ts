// Waits for a condition: returns its first true value, or throws with its last value when the deadline passes.
import { errorMessage } from "../../shared/runtime/errors.ts";

export interface EventuallyOptions {
  /** Default 30 000. */
  timeoutMs?: number;
  /** Time between two checks; default 20. */
  everyMs?: number;
}

/**
 * Checks `condition` again and again until it gives something true.
 * A check that throws counts as not yet; the last reason is part of the error.
 * @param what the condition in words: "the hour is closed"
 * @returns what the condition gave
 * @throws Error when the deadline passes first
 */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 30_000, everyMs = 20 }: EventuallyOptions = {},
): Promise<Truthy<T>> {
  const deadline = performance.now() + timeoutMs;
  let last = "";
  while (true) {
    try {
      const value = await withDeadline(condition(), deadline);
      if (isTruthy(value)) return value;
      last = `the last check gave ${JSON.stringify(value) ?? "undefined"}`;
    } catch (error) {
      last = `the last check failed: ${errorMessage(error)}`;
    }
    if (performance.now() >= deadline) throw new Error(`not within ${timeoutMs} ms: ${what} (${last})`);
    await Bun.sleep(everyMs);
  }
}

/** A check that never answers must not outlast the deadline either. */
async function withDeadline<T>(check: T | Promise<T>, deadline: number): Promise<T> {
  if (!(check instanceof Promise)) return check;
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("no answer")), Math.max(1, deadline - performance.now()));
  try {
    return await Promise.race([check, promise]);
  } finally {
    clearTimeout(timer);
  }
}

type Truthy<T> = Exclude<T, false | undefined | null | 0 | "">;

function isTruthy<T>(value: T): value is Truthy<T> {
  return Boolean(value);
}

/**
 * Checks that `condition` stays true for a time.
 * @throws Error at the first check that is false
 */
export async function throughout(
  what: string,
  durationMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const end = performance.now() + durationMs;
  do {
    if (!(await condition())) throw new Error(`no longer true: ${what}`);
    await Bun.sleep(20);
  } while (performance.now() < end);
}
