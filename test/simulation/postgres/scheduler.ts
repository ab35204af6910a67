// Declares the time and the chance that the models run by.

/** Virtual time and seeded chance: the same seed gives the same history. */
export interface Scheduler {
  /** Virtual ms since the history began. */
  nowMs(): number;
  /** Runs something `ms` from now, after what was planned before for the same moment. */
  after(ms: number, run: () => void): Timer;
  /** The next number in [0, 1). */
  random(): number;
}

/** Something that is planned. Cancelling it twice, or after it ran, does nothing. */
export interface Timer {
  cancel(): void;
}
