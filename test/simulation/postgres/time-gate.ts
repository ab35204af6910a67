// Holds back what is due while a process is stopped.

import type { Scheduler, Timer } from "./scheduler.ts";

/** The timers and messages of one process. While the gate is closed nothing runs; when it opens, all that is due does. */
export class TimeGate {
  readonly #scheduler: Scheduler;
  #postponed: (() => void)[] | undefined;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  get isClosed(): boolean {
    return this.#postponed !== undefined;
  }

  after(ms: number, run: () => void): Timer {
    let isCancelled = false;
    const pass = () => {
      if (isCancelled) return;
      if (this.#postponed === undefined) run();
      else this.#postponed.push(pass);
    };
    const timer = this.#scheduler.after(ms, pass);
    return {
      cancel() {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  close(): void {
    this.#postponed ??= [];
  }

  open(): void {
    const due = this.#postponed ?? [];
    this.#postponed = undefined;
    for (const pass of due) this.#scheduler.after(0, pass);
  }
}
