// What happened at start in; a line each, with the time since the command, out.
import type { Palette } from "./colors.ts";

/** Shorter than this, nobody needs to hear of progress. */
const PATIENCE_MS = 300;
const TICK_MS = 1000;
const INDENT = " ".repeat(11);
const CLEAR_LINE = "\r\x1b[K";

export interface StepsOptions {
  readonly ink: Palette;
  readonly write: (text: string) => unknown;
  /** Width of a terminal, where there is one: what is under way is then shown in place, with its seconds. */
  readonly columns?: number | undefined;
  /** Since the program's start. */
  readonly nowMs?: () => number;
}

export class Steps {
  readonly #options: StepsOptions;
  /** What is under way, on the last line of a terminal; it has no end of line yet. */
  #status = "";
  #isOver = false;

  constructor(options: StepsOptions) {
    this.#options = options;
  }

  /** A step is done. */
  done(what: string, detail = ""): void {
    const { ink, nowMs = () => performance.now() } = this.#options;
    const time = `${(nowMs() / 1000).toFixed(2).padStart(7)} s`;
    this.#print(`${ink.quiet(time)}  ${ink.label(what.padEnd(11))} ${detail}`);
  }

  /**
   * Does something that may say what it is doing; only what is said while it goes on for long is shown.
   * @param work is given a function that takes lines
   */
  async watch<T>(work: (say: (line: string) => void) => Promise<T>): Promise<T> {
    const { columns, ink } = this.#options;
    const timers: Timer[] = [];
    let current = "";
    let seconds = 0;
    const show = (): void => {
      if (current !== "") this.#setStatus(`${String(seconds).padStart(7)} s  ${current}`, columns ?? 0);
    };
    const say = (line: string): void => {
      const timer = setTimeout(() => {
        if (columns === undefined) this.#print(`${INDENT}${ink.quiet(line)}`);
        current = line;
        show();
      }, PATIENCE_MS);
      timers.push(timer);
    };
    if (columns !== undefined) {
      const tick = setInterval(() => {
        seconds++;
        show();
      }, TICK_MS);
      timers.push(tick);
    }
    try {
      return await work(say);
    } finally {
      for (const timer of timers) clearTimeout(timer);
      this.#setStatus("", columns ?? 0);
    }
  }

  /** The start is over, or given up: what is still under way is not shown any more. */
  end(): void {
    if (this.#status !== "") this.#options.write("\n");
    this.#isOver = true;
  }

  #print(line: string): void {
    if (this.#isOver) return;
    const status = this.#status;
    if (status !== "") this.#options.write(CLEAR_LINE);
    this.#options.write(`${line}\n${this.#options.ink.quiet(status)}`);
  }

  #setStatus(status: string, columns: number): void {
    if (columns <= 0 || status === this.#status || this.#isOver) return;
    // What wraps cannot be cleared.
    this.#status = Bun.sliceAnsi(status, 0, columns - 1, "…");
    this.#options.write(`${CLEAR_LINE}${this.#options.ink.quiet(this.#status)}`);
  }
}
