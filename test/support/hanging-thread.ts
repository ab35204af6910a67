// Makes a worker thread of a program under test hang, for ever, when the test says so.
//
// The program runs with this file as its preload (`HangingThread.env`), which gives it to each worker thread as well.
// There it watches for the test's file; the thread that removes the file first blocks.
import { existsSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { eventually } from "./eventually.ts";

const VARIABLE = "TEST_HANGING_THREAD_FILE";
const WATCH_MS = 50;

/** Hangs one thread of a program. Disposing removes its file. */
export class HangingThread implements Disposable {
  readonly #file = join(tmpdir(), `hanging-thread-${crypto.randomUUID()}`);

  /** To be added to the program's environment. */
  get env(): Readonly<Record<string, string>> {
    return { BUN_OPTIONS: `--preload ${import.meta.path}`, [VARIABLE]: this.#file };
  }

  /** Resolves when one thread of the program hangs; it no longer does anything. */
  async hang(): Promise<void> {
    writeFileSync(this.#file, "");
    await eventually("a thread hangs", () => !existsSync(this.#file), { timeoutMs: 60_000 });
  }

  [Symbol.dispose](): void {
    rmSync(this.#file, { force: true });
  }
}

function hangWhen(file: string): void {
  setInterval(() => {
    try {
      unlinkSync(file);
    } catch {
      return; // it is not there yet, or another thread was first
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }, WATCH_MS).unref();
}

const file = process.env[VARIABLE];
if (file !== undefined && isMainThread) {
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, { ...options, preload: [import.meta.path] });
    }
  };
} else if (file !== undefined) {
  hangWhen(file);
}
