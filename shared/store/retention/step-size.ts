// Chooses how much one step deletes, so that it takes a few milliseconds on any machine.

/** A step that took longer is followed by a smaller one, a shorter one by a larger one, ms. */
const LONG_MS = 20;
const SHORT_MS = 8;

export class StepSize {
  readonly #least: number;
  readonly #most: number;
  #size: number;

  constructor(least: number, most: number) {
    this.#least = least;
    this.#most = most;
    this.#size = least;
  }

  get current(): number {
    return this.#size;
  }

  /** @param ms what the last step of this size took */
  adapt(ms: number): void {
    if (ms > LONG_MS) this.#size = Math.max(this.#least, Math.floor(this.#size / 2));
    else if (ms < SHORT_MS) this.#size = Math.min(this.#most, this.#size * 2);
  }
}
