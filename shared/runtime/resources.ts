// Releases what a program holds in reverse order of acquisition, each release under a deadline.
import { errorMessage } from "./errors.ts";

interface Held {
  readonly name: string;
  readonly deadlineMs: number;
  readonly release: () => Promise<unknown> | void;
}

/** The resources of one program. */
export class Resources implements AsyncDisposable {
  readonly #held: Held[] = [];
  readonly #report: (problem: string) => void;
  #releasing: Promise<void> | undefined;

  /** @param report gets one sentence for each resource that could not be released; by default on standard error */
  constructor(report: (problem: string) => void = (problem) => process.stderr.write(`${problem}\n`)) {
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
    // A late release keeps running after the race; its later failure is ignored.
    const released = Promise.resolve().then(release);
    released.catch(() => undefined);
    await Promise.race([released, late]);
  } finally {
    clearTimeout(timer);
  }
}
