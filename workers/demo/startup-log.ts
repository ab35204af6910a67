// Prints one line for each completed step of the start, with the time since the command began.
import type { Palette } from "./colors.ts";

/** Progress of shorter work is not shown. */
const PATIENCE_MS = 300;
const TICK_MS = 1000;
const INDENT = " ".repeat(11);
const CLEAR_LINE = "\r\x1b[K";

export interface StartupLogOptions {
  readonly palette: Palette;
  readonly write: (text: string) => unknown;
  /** The width of the terminal, if there is one: current work is then shown in place, with its seconds. */
  readonly columns?: number | undefined;
  /** Time since the program's start. */
  readonly nowMs?: () => number;
}

export class StartupLog {
  readonly #options: StartupLogOptions;
  /** Current work, on the last line of a terminal; that line is not ended yet. */
  #status = "";
  #isOver = false;

  constructor(options: StartupLogOptions) {
    this.#options = options;
  }

  /** Reports a completed step. */
  done(what: string, detail = ""): void {
    const { palette, nowMs = () => performance.now() } = this.#options;
    const time = `${(nowMs() / 1000).toFixed(2).padStart(7)} s`;
    this.#print(`${palette.quiet(time)}  ${palette.label(what.padEnd(11))} ${detail}`);
  }

  /**
   * Runs work that reports its progress; a line is shown once the work has gone on for a while after it.
   * @param work receives a function that takes lines
   */
  async watch<T>(work: (say: (line: string) => void) => Promise<T>): Promise<T> {
    const { columns, palette } = this.#options;
    const timers: Timer[] = [];
    let current = "";
    let seconds = 0;
    const show = (): void => {
      if (current !== "") this.#setStatus(`${String(seconds).padStart(7)} s  ${current}`, columns ?? 0);
    };
    const say = (line: string): void => {
      const timer = setTimeout(() => {
        if (columns === undefined) this.#print(`${INDENT}${palette.quiet(line)}`);
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

  /** The start has ended or was given up: nothing more is shown. */
  end(): void {
    if (this.#status !== "") this.#options.write("\n");
    this.#isOver = true;
  }

  #print(line: string): void {
    if (this.#isOver) return;
    const status = this.#status;
    if (status !== "") this.#options.write(CLEAR_LINE);
    this.#options.write(`${line}\n${this.#options.palette.quiet(status)}`);
  }

  #setStatus(status: string, columns: number): void {
    if (columns <= 0 || status === this.#status || this.#isOver) return;
    // A line that wraps cannot be cleared.
    this.#status = Bun.sliceAnsi(status, 0, columns - 1, "…");
    this.#options.write(`${CLEAR_LINE}${this.#options.palette.quiet(this.#status)}`);
  }
}
