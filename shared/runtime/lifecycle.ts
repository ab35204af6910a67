// A program's main in, its exit code out: signals, errors and the release of what it holds.
import { ConfigurationError, errorMessage, FatalError } from "./errors.ts";

/**
 * `npx` and `bun run` hand on a signal that the terminal has already sent to the whole process group: what
 * comes within this time of the first is the same Ctrl-C.
 */
const SAME_SIGNAL_MS = 100;
const CRASH_DEADLINE_MS = 4000;

/** Whether the program has been asked to stop, by a signal or from within. */
export class StopSignal {
  /**
   * Resolves with the reason ("SIGTERM") once a stop is requested; never rejects. In a loop use `orStopped`:
   * each Promise.race with this one would leave something behind in it.
   */
  readonly requested: Promise<string>;
  /** Told, and waited for four seconds at most, when an error that nobody caught ends the process. */
  onCrash: ((error: unknown) => Promise<void>) | undefined;
  readonly #waiting = new Set<() => void>();
  readonly #resolve: (reason: string) => void;
  #reason: string | undefined;

  constructor() {
    const { promise, resolve } = Promise.withResolvers<string>();
    this.requested = promise;
    this.#resolve = resolve;
  }

  get isRequested(): boolean {
    return this.#reason !== undefined;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  /** Asks the program to stop; only the first request counts. */
  request(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#resolve(reason);
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Waits for `work`, but no longer than until a stop is requested: undefined then. */
  async orStopped<T>(work: Promise<T>): Promise<T | undefined> {
    if (this.isRequested) return undefined;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const wake = (): void => resolve(undefined);
    this.#waiting.add(wake);
    try {
      return await Promise.race([work, promise]);
    } finally {
      this.#waiting.delete(wake);
    }
  }
}

/**
 * Runs a program to its end and exits the process with the code that `main` returns. The first SIGINT or
 * SIGTERM requests a stop; the second forces exit code 1 at once. What `main` throws is printed:
 * ConfigurationError as its list of problems (exit 2), FatalError as its sentence (exit 1), anything else
 * with its stack (exit 1).
 */
export async function runProgram(main: (stop: StopSignal) => Promise<number>): Promise<never> {
  const stop = new StopSignal();
  let firstSignalAt: number | undefined;
  const onSignal = (signal: string): void => {
    if (firstSignalAt === undefined) {
      firstSignalAt = performance.now();
      stop.request(signal);
    } else if (performance.now() - firstSignalAt > SAME_SIGNAL_MS) {
      printLine(`${signal} again: stopping at once, without a drain`);
      process.exit(1);
    }
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const onCrash = (error: unknown): void => void crash(error, stop);
  process.on("uncaughtException", onCrash);
  process.on("unhandledRejection", onCrash);
  try {
    process.exit(await main(stop));
  } catch (error) {
    exitWithFailure(error);
  }
}

function exitWithFailure(error: unknown): never {
  process.exit(reportFailure(error));
}

async function crash(error: unknown, stop: StopSignal): Promise<never> {
  const tell = stop.onCrash;
  // What comes up meanwhile ends the process at once.
  stop.onCrash = undefined;
  if (tell === undefined) exitWithFailure(error);
  const code = reportFailure(error);
  await Promise.race([tell(error).catch(() => undefined), Bun.sleep(CRASH_DEADLINE_MS)]);
  process.exit(code);
}

/** Prints what ended the program to standard error; returns the exit code that goes with it. */
export function reportFailure(error: unknown): 1 | 2 {
  if (error instanceof ConfigurationError) {
    for (const problem of error.problems) printLine(problem);
    return 2;
  }
  if (error instanceof FatalError) printLine(error.message);
  else printLine(error instanceof Error ? (error.stack ?? error.message) : errorMessage(error));
  return 1;
}

function printLine(line: string): void {
  process.stderr.write(`${line}\n`);
}

interface Held {
  readonly name: string;
  readonly deadlineMs: number;
  readonly release: () => Promise<unknown> | void;
}

/** What a program holds, released in reverse order of acquisition, each awaited and under its deadline. */
export class Resources implements AsyncDisposable {
  readonly #held: Held[] = [];
  readonly #report: (problem: string) => void;
  #releasing: Promise<void> | undefined;

  /** @param report is told what could not be released, one sentence each; by default standard error */
  constructor(report: (problem: string) => void = printLine) {
    this.#report = report;
  }

  /** Remembers how to release something. What is deferred during a release is released by it too. */
  defer(name: string, deadlineMs: number, release: () => Promise<unknown> | void): void {
    this.#held.push({ name, deadlineMs, release });
  }

  /** Releases everything; a failed or late release is reported and does not stop the others. Never rejects. */
  async releaseAll(): Promise<void> {
    this.#releasing ??= this.#release();
    await this.#releasing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.releaseAll();
  }

  async #release(): Promise<void> {
    for (let held = this.#held.pop(); held !== undefined; held = this.#held.pop()) {
      try {
        await withDeadline(held);
      } catch (error) {
        this.#report(`closing ${held.name}: ${errorMessage(error)}`);
      }
    }
    this.#releasing = undefined;
  }
}

async function withDeadline({ deadlineMs, release }: Held): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${deadlineMs} ms`)), deadlineMs);
  });
  try {
    // The race leaves a late release running; its own failure later on is nobody's concern any more.
    const released = Promise.resolve().then(release);
    released.catch(() => undefined);
    await Promise.race([released, late]);
  } finally {
    clearTimeout(timer);
  }
}
