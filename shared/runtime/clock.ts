// Reads the time and sleeps, behind an interface that tests replace.

export interface Clock {
  /** Milliseconds since 1970, UTC; can jump. */
  now(): number;
  /** Milliseconds since an arbitrary moment; never goes back. */
  monotonicMs(): number;
  /** Resolves after `ms`; with 0, after everything else that is ready to run. */
  sleep(ms: number): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms) => (ms <= 0 ? new Promise((resolve) => setImmediate(resolve)) : Bun.sleep(ms)),
};
