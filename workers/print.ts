// Writes the result of a command to standard output, and what it does meanwhile to standard error.

import { codeOf } from "../shared/runtime/errors.ts";

/** Waits until the text is written, because the program exits right after. */
export async function print(text: string): Promise<void> {
  try {
    await Bun.write(Bun.stdout, text);
  } catch (error) {
    // The reader has closed the pipe (`| head`).
    if (codeOf(error) !== "EPIPE") throw error;
  }
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

const PROGRESS_INTERVAL_MS = 1000;

/** @returns says a line, but not more often than once a second */
export function progressReporter(): (line: () => string) => void {
  let saidAtMs = performance.now();
  return (line) => {
    const now = performance.now();
    if (now - saidAtMs < PROGRESS_INTERVAL_MS) return;
    saidAtMs = now;
    say(line());
  };
}
