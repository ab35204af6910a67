// Computes how long to wait before the next attempt at something that keeps failing.

import { type Clock, systemClock } from "./clock.ts";

/** After this long without a failure, the next failure counts as the first. */
const FORGET_AFTER_MS = 30_000;

/** Waits that double from `firstMs` to `maxMs`, each shortened at random by up to half. */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #clock: Pick<Clock, "monotonicMs">;
  #attempts = 0;
  #lastMs = 0;

  constructor(firstMs: number, maxMs: number, clock: Pick<Clock, "monotonicMs"> = systemClock) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#clock = clock;
  }

  get attempts(): number {
    return this.#attempts;
  }

  /** The next wait in ms; the first is 0. */
  next(): number {
    const nowMs = this.#clock.monotonicMs();
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
