// How often something failed in; how long to wait before the next attempt out.

/** After this long without a failure the next one counts as the first. */
const FORGET_AFTER_MS = 30_000;

/** Waits between attempts: doubling from `firstMs` to `mostMs`, each shortened by up to half at random. */
export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #attempts = 0;
  #lastMs = 0;

  constructor(firstMs: number, mostMs: number) {
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The next wait, ms; the first is none. */
  next(): number {
    const nowMs = performance.now();
    if (nowMs - this.#lastMs > FORGET_AFTER_MS) this.#attempts = 0;
    this.#lastMs = nowMs;
    const attempt = this.#attempts++;
    if (attempt === 0) return 0;
    const full = Math.min(this.#firstMs * 2 ** (attempt - 1), this.#mostMs);
    return full * (0.5 + Math.random() / 2);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
