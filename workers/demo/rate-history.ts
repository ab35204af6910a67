// A growing total, now and then, in; how fast it grows, now and second by second, out.

interface Sample {
  readonly atMs: number;
  readonly total: number;
}

/** The rate is that of the last two seconds: less flickers. */
const WINDOW_MS = 2000;
const SECOND_MS = 1000;
/** As wide as a terminal may be. */
const MOST_SECONDS = 400;

export class RateHistory {
  /** Per second, oldest first; the second that is running is not in it. */
  readonly seconds: number[] = [];
  #recent: Sample[] = [];
  #second: Sample | undefined;

  get total(): number {
    return this.#recent.at(-1)?.total ?? 0;
  }

  /** @param atMs of a monotonic clock, not before the last one */
  add(atMs: number, total: number): void {
    this.#recent.push({ atMs, total });
    // One sample from before the window stays, so that the window is covered.
    while (this.#recent.length > 2 && this.#recent[1]!.atMs <= atMs - WINDOW_MS) this.#recent.shift();
    this.#second ??= { atMs, total };
    const elapsedMs = atMs - this.#second.atMs;
    if (elapsedMs < SECOND_MS) return;
    const passed = Math.floor(elapsedMs / SECOND_MS);
    const each = ((total - this.#second.total) / elapsedMs) * SECOND_MS;
    for (let second = 0; second < Math.min(passed, MOST_SECONDS); second++) this.seconds.push(each);
    if (this.seconds.length > MOST_SECONDS) this.seconds.splice(0, this.seconds.length - MOST_SECONDS);
    this.#second = { atMs, total };
  }

  /** Per second, as of now. */
  get perSecond(): number {
    const first = this.#recent[0];
    const last = this.#recent.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.total - first.total) / (last.atMs - first.atMs)) * SECOND_MS;
  }
}
