// Keeps recent samples, so that the growth of a counter over a time window can be read.

/**
 * Samples in the order of time. The oldest one kept is the newest that is at least `lengthMs` older than the newest
 * one, so that a full window is always covered.
 */
export class SlidingWindow<Sample> {
  readonly #lengthMs: number;
  readonly #entries: { readonly atMs: number; readonly sample: Sample }[] = [];

  constructor(lengthMs: number) {
    this.#lengthMs = lengthMs;
  }

  /** @param atMs of a monotonic clock, not before that of the last sample */
  push(atMs: number, sample: Sample): void {
    const entries = this.#entries;
    entries.push({ atMs, sample });
    while (entries.length > 1 && atMs - entries[1]!.atMs >= this.#lengthMs) entries.shift();
  }

  /** There must be a sample. */
  get newest(): Sample {
    return this.#entries.at(-1)!.sample;
  }

  /** How much later the newest sample is than the one that `baseline` returns. */
  spanMs(ageMs = this.#lengthMs): number {
    return this.#entries.at(-1)!.atMs - this.#baseline(ageMs).atMs;
  }

  /** The newest sample that is at least `ageMs` older than the newest one; the oldest if none is that old. */
  baseline(ageMs = this.#lengthMs): Sample {
    return this.#baseline(ageMs).sample;
  }

  /** Oldest first. */
  samples(): Sample[] {
    return this.#entries.map(({ sample }) => sample);
  }

  #baseline(ageMs: number): { readonly atMs: number; readonly sample: Sample } {
    const entries = this.#entries;
    const newestMs = entries.at(-1)!.atMs;
    return entries.findLast(({ atMs }) => newestMs - atMs >= ageMs) ?? entries[0]!;
  }
}
