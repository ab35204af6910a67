// Measures how fast a total grows: its current rate, and its rate in each second so far.
import { SlidingWindow } from "../../shared/telemetry/sliding-window.ts";

/** The current rate is that of the last two seconds; over less it flickers. */
const WINDOW_MS = 2000;
const SECOND_MS = 1000;
/** No terminal is wider. */
const MAX_SECONDS = 400;

export class RateHistory {
  total = 0;
  /** Per second. */
  rate = 0;
  /** The rate in each second, oldest first. */
  readonly seconds: number[] = [];
  readonly #window = new SlidingWindow<number>(WINDOW_MS);
  #secondEndsMs: number | undefined;

  /** @param atMs of a monotonic clock, not before the last one */
  add(atMs: number, total: number): void {
    this.#window.push(atMs, total);
    this.total = total;
    this.rate = this.#rateOver(WINDOW_MS);
    this.#secondEndsMs ??= atMs + SECOND_MS;
    if (atMs < this.#secondEndsMs) return;
    this.seconds.push(this.#rateOver(SECOND_MS));
    if (this.seconds.length > MAX_SECONDS) this.seconds.shift();
    this.#secondEndsMs = Math.max(this.#secondEndsMs + SECOND_MS, atMs);
  }

  #rateOver(ms: number): number {
    const spanMs = this.#window.spanMs(ms);
    return spanMs <= 0 ? 0 : ((this.total - this.#window.baseline(ms)) / spanMs) * SECOND_MS;
  }
}
