// Logs what may happen thousands of times a second: the first time at once, then one line per interval.

import type { Logger } from "./log.ts";

interface Repeated {
  /** Occurrences since the last line. */
  count: number;
  text: string;
  fields: Readonly<Record<string, unknown>>;
  lastLineMs: number;
}

const EVERY_MS = 10_000;
/** Distinct keys; further ones share one line. */
const MAX_KEYS = 50;

/** Warnings, at most one line per key in ten seconds; `count` is the number of occurrences since the last line. */
export class RateLimitedLog {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #everyMs: number;
  readonly #repeated = new Map<string, Repeated>();
  #timer: Timer | undefined;

  constructor(log: Logger, nowMs: () => number = () => performance.now(), everyMs = EVERY_MS) {
    this.#log = log;
    this.#nowMs = nowMs;
    this.#everyMs = everyMs;
  }

  /**
   * Counts an occurrence, and writes a line if one is due.
   * @param fields the line holds those of the latest occurrence
   * @param key occurrences of one key share a line; by default the text
   */
  warn(text: string, fields: Readonly<Record<string, unknown>> = {}, count = 1, key = text): void {
    const isDistinct = this.#repeated.has(key) || this.#repeated.size < MAX_KEYS;
    const ownKey = isDistinct ? key : "";
    const latest = { text: isDistinct ? text : "other warnings", fields };
    const known = this.#repeated.get(ownKey) ?? { count: 0, lastLineMs: Number.NEGATIVE_INFINITY, ...latest };
    Object.assign(known, latest);
    known.count += count;
    this.#repeated.set(ownKey, known);
    this.#writeDue();
  }

  /** Writes the lines that are not due yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const repeated of this.#repeated.values()) if (repeated.count > 0) this.#write(repeated);
  }

  #writeDue(): void {
    let isLeft = false;
    for (const repeated of this.#repeated.values()) {
      if (repeated.count === 0) continue;
      if (this.#nowMs() - repeated.lastLineMs >= this.#everyMs) this.#write(repeated);
      else isLeft = true;
    }
    // The end of a burst is logged too, although nothing follows it.
    if (!isLeft || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writeDue();
    }, this.#everyMs).unref();
  }

  #write(repeated: Repeated): void {
    this.#log.warn({ ...repeated.fields, count: repeated.count }, repeated.text);
    repeated.count = 0;
    repeated.lastLineMs = this.#nowMs();
  }
}
