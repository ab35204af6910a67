// Time as a value that a test can replace.

export interface Clock {
  /** Milliseconds since 1970, UTC; may jump. */
  now(): number;
  /** Milliseconds since some moment; never goes back. */
  monotonicMs(): number;
  /** Resolves after `ms`; 0 = after what else is ready to run. */
  sleep(ms: number): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms) => (ms <= 0 ? new Promise((resolve) => setImmediate(resolve)) : Bun.sleep(ms)),
};
