// Things that may happen thousands of times a second in; a log line for the first, then one now and then, out.
import type { Logger } from "./log.ts";

interface Repeated {
  count: number;
  fields: Readonly<Record<string, unknown>>;
  lastLineMs: number;
}

const EVERY_MS = 10_000;
/** Different texts that are told apart; further ones share one line. */
const MAX_TEXTS = 50;

/** Warnings, at most one line for each text in ten seconds; `count` says how often it happened meanwhile. */
export class OccasionalLog {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #repeated = new Map<string, Repeated>();

  constructor(log: Logger, nowMs: () => number = () => performance.now()) {
    this.#log = log;
    this.#nowMs = nowMs;
  }

  warn(text: string, fields: Readonly<Record<string, unknown>> = {}, count = 1): void {
    const key = this.#repeated.has(text) || this.#repeated.size < MAX_TEXTS ? text : "other trouble";
    const known = this.#repeated.get(key) ?? { count: 0, fields, lastLineMs: Number.NEGATIVE_INFINITY };
    known.count += count;
    known.fields = fields;
    this.#repeated.set(key, known);
    if (this.#nowMs() - known.lastLineMs >= EVERY_MS) this.#write(key, known);
  }

  /** Writes what was counted and not said yet. */
  flush(): void {
    for (const [text, repeated] of this.#repeated) if (repeated.count > 0) this.#write(text, repeated);
  }

  #write(text: string, repeated: Repeated): void {
    this.#log.warn({ ...repeated.fields, count: repeated.count }, text);
    repeated.count = 0;
    repeated.lastLineMs = this.#nowMs();
  }
}
