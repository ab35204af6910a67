// Shows how far a run of many jobs is: a live line on a terminal, a plain line now and then elsewhere.

const LIVE_MS = 250;
const PLAIN_MS = 15_000;

/** Where the lines go; `process.stdout` is one. `columns` is set on a terminal. */
export interface ProgressOutput {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Knows which jobs run and how many are left. Lines of the run itself go through `print`. */
export class Progress implements Disposable {
  /** Start in ms of `performance.now()`, by name of the job. */
  readonly #running = new Map<string, number>();
  readonly #output: ProgressOutput;
  readonly #timer: Timer;
  #left = 0;

  constructor(output: ProgressOutput) {
    this.#output = output;
    const isLive = output.isTTY === true;
    this.#timer = setInterval(() => (isLive ? this.#draw() : this.#report()), isLive ? LIVE_MS : PLAIN_MS);
  }

  /** Adds jobs that have not started yet. */
  expect(jobs: number): void {
    this.#left += jobs;
  }

  started(name: string): void {
    this.#running.set(name, performance.now());
    if (this.#output.isTTY === true) this.#draw();
  }

  ended(name: string): void {
    this.#running.delete(name);
    this.#left--;
  }

  print(line: string): void {
    this.#clear();
    this.#output.write(`${line}\n`);
  }

  /** One line such as `   12 left, running: test/a.test.ts (3 s), test/b.test.ts (1 s)`. */
  line(): string {
    const now = performance.now();
    const running = [...this.#running]
      .toSorted(([, a], [, b]) => a - b)
      .map(([name, start]) => `${name} (${Math.round((now - start) / 1000)} s)`);
    return `   ${this.#left} left, running: ${running.join(", ") || "nothing"}`;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#clear();
  }

  #report(): void {
    if (this.#running.size > 0) this.#output.write(`${this.line()}\n`);
  }

  #draw(): void {
    this.#output.write(`\r${this.line().slice(0, (this.#output.columns ?? 80) - 1)}\u001B[K`);
  }

  #clear(): void {
    if (this.#output.isTTY === true) this.#output.write("\r\u001B[K");
  }
}
