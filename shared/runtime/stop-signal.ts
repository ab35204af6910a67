// Carries the request to stop from a signal, or from the program itself, to everything that waits.

/** Whether the program has been asked to stop. */
export class StopSignal {
  /**
   * Resolves with the reason ("SIGTERM") once a stop is requested; never rejects. In a loop use `orStopped`:
   * every Promise.race with this promise leaves a reaction in it.
   */
  readonly requested: Promise<string>;
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

  /** The result of `work`, or undefined as soon as a stop is requested. */
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
