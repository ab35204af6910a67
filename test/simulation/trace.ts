// Keeps what happened in a history, in words that a person can follow.

/** The lines of one history. */
export class Trace {
  readonly #nowMs: () => number;
  readonly #lines: string[] = [];
  readonly #atMs: number[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  note(who: string, what: string): void {
    this.#atMs.push(this.#nowMs());
    this.#lines.push(`${who}: ${what}`);
  }

  /** The last lines, or all. */
  lines(count = Infinity): string[] {
    return this.#lines.map((line, index) => `${seconds(this.#atMs[index]!)}  ${line}`).slice(-count);
  }

  /** The same for two histories only where the same happened at the same moments. */
  hash(): string {
    return Bun.hash(this.lines().join("\n")).toString(16);
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(4).padStart(9);
}
