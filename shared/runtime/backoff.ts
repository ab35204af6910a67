// Computes how long to wait before the next attempt at something that keeps failing.

/** After this long without a failure, the next failure counts as the first. */
const FORGET_AFTER_MS = 30_000;

/** Waits that double from `firstMs` to `maxMs`, each shortened at random by up to half. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  #attempts = 0;
  #lastMs = 0;

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The next wait in ms; the first is 0. */
  next(): number {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs > FORGET_AFTER_MS) this.#attempts = 0;
    this.#lastMs = nowMs;
    const attempt = this.#attempts++;
    if (attempt === 0) return 0;
    const full = Math.min(this.#firstMs * 2 ** (attempt - 1), this.#maxMs);
    return full * (0.5 + Math.random() / 2);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
