// Notices a monotonic clock that goes back.

import { InvariantViolated } from "./errors.ts";

/** Deadlines and retries rest on a clock that never goes back. */
export class ClockCheck {
  #lastMs = -Infinity;

  /** @throws InvariantViolated, once, where `nowMs` lies before an earlier one */
  pass(nowMs: number): void {
    const lastMs = this.#lastMs;
    this.#lastMs = nowMs;
    if (nowMs < lastMs) {
      throw new InvariantViolated(`the monotonic clock went back from ${lastMs} ms to ${nowMs} ms`);
    }
  }
}
