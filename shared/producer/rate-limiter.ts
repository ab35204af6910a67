// Limits how fast a producer sends.

/** After a wait (a full queue, a slow consumer) at most this much time is caught up. */
const MAX_CATCH_UP_MS = 1000;

/** Times are monotonic milliseconds. */
export interface RateLimiter {
  /** True if a record may go now, which then counts as sent. */
  take(nowMs: number): boolean;
  /** Milliseconds until the next record may go; 0 = now. */
  waitMs(nowMs: number): number;
}

export const noRateLimit: RateLimiter = { take: () => true, waitMs: () => 0 };

/** A steady rate: exact on average, in small bursts as the clock ticks. The first record goes at once. */
export class SteadyRateLimiter implements RateLimiter {
  readonly #perMs: number;
  #tokens = 1;
  #filledAtMs: number | undefined;

  constructor(ratePerSecond: number) {
    this.#perMs = ratePerSecond / 1000;
  }

  take(nowMs: number): boolean {
    this.#fill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }

  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return Math.max(0, (1 - this.#tokens) / this.#perMs);
  }

  #fill(nowMs: number): void {
    if (nowMs === this.#filledAtMs) return;
    const gained = (nowMs - (this.#filledAtMs ?? nowMs)) * this.#perMs;
    this.#tokens = Math.min(this.#tokens + gained, Math.max(1, this.#perMs * MAX_CATCH_UP_MS));
    this.#filledAtMs = nowMs;
  }
}

/** Single records, each after its own interval. The first goes at once. */
export class SpacedRateLimiter implements RateLimiter {
  readonly #nextIntervalSeconds: () => number;
  #dueMs: number | undefined;

  constructor(nextIntervalSeconds: () => number) {
    this.#nextIntervalSeconds = nextIntervalSeconds;
  }

  take(nowMs: number): boolean {
    if (this.waitMs(nowMs) > 0) return false;
    const due = Math.max(this.#dueMs ?? nowMs, nowMs - MAX_CATCH_UP_MS);
    this.#dueMs = due + this.#nextIntervalSeconds() * 1000;
    return true;
  }

  waitMs(nowMs: number): number {
    return Math.max(0, (this.#dueMs ?? nowMs) - nowMs);
  }
}
