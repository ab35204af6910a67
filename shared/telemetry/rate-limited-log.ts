// Things that may happen thousands of times a second in; a log line for the first, then one now and then, out.
import type { Logger } from "./log.ts";

interface Repeated {
  /** What happened since the last line. */
  count: number;
  text: string;
  fields: Readonly<Record<string, unknown>>;
  lastLineMs: number;
}

const EVERY_MS = 10_000;
/** Different things that are told apart; further ones share one line. */
const MAX_KEYS = 50;

/** Warnings, at most one line for each thing in ten seconds; `count` says how often it happened since the last. */
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
   * Counts, and writes the line when it is due.
   * @param fields of the latest stand in the line
   * @param key what counts as the same thing; by default the text
   */
  warn(text: string, fields: Readonly<Record<string, unknown>> = {}, count = 1, key = text): void {
    const isTold = this.#repeated.has(key) || this.#repeated.size < MAX_KEYS;
    const ownKey = isTold ? key : "";
    const latest = { text: isTold ? text : "other trouble", fields };
    const known = this.#repeated.get(ownKey) ?? { count: 0, lastLineMs: Number.NEGATIVE_INFINITY, ...latest };
    Object.assign(known, latest);
    known.count += count;
    this.#repeated.set(ownKey, known);
    this.#writeDue();
  }

  /** Writes what was counted and not said yet. */
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
    // The end of a burst is told too, though nothing follows it.
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
