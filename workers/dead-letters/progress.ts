// Says how far a command is: on a terminal in one line that changes, otherwise in a line every few seconds.

import { count, percent } from "../../shared/text/format.ts";

const TERMINAL_MS = 200;
const LOG_MS = 5000;

export class Progress {
  readonly #what: string;
  readonly #total: number;
  readonly #startedAtMs = performance.now();
  #saidAtMs = performance.now();
  #width = 0;

  /** @param what "replayed" @param total letters that were counted at the start; others may come */
  constructor(what: string, total: number) {
    this.#what = what;
    this.#total = total;
  }

  get seconds(): number {
    return (performance.now() - this.#startedAtMs) / 1000;
  }

  /** @param done letters so far */
  update(done: number): void {
    const nowMs = performance.now();
    const isTerminal = process.stderr.isTTY;
    if (nowMs - this.#saidAtMs < (isTerminal ? TERMINAL_MS : LOG_MS)) return;
    this.#saidAtMs = nowMs;
    const share = percent(Math.min(1, done / Math.max(1, this.#total)));
    const line = `${this.#what} ${count(done)} of ${count(this.#total)} (${share}), ${count(done / this.seconds)}/s`;
    if (!isTerminal) return void process.stderr.write(`${line}\n`);
    process.stderr.write(`\r${line.padEnd(this.#width)}`);
    this.#width = line.length;
  }

  /** Clears the line on a terminal. */
  end(): void {
    if (this.#width > 0) process.stderr.write(`\r${" ".repeat(this.#width)}\r`);
  }
}
