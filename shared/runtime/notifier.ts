// Wakes a loop that waits for something to happen or for a time to pass.

/** Keeps a notification that comes while nothing waits, so that none is missed. */
export class Notifier {
  #wake: (() => void) | undefined;
  #isNotified = false;

  notify(): void {
    this.#isNotified = true;
    this.#wake?.();
  }

  /** Resolves at the next notification, immediately if one came since the last wait, and after `ms` at the latest. */
  async wait(ms: number): Promise<void> {
    if (!this.#isNotified) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const timer = setTimeout(resolve, ms);
      await promise;
      clearTimeout(timer);
      this.#wake = undefined;
    }
    this.#isNotified = false;
  }
}
