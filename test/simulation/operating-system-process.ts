// Runs the timers of one simulated process, which can be stopped, continued and killed.

import type { Scheduler, Timer } from "./postgres/scheduler.ts";

/** What the process has planned runs later while the process is stopped, and never once it is killed. */
export class OperatingSystemProcess implements Scheduler {
  readonly name: string;
  readonly #time: Scheduler;
  #state: "running" | "stopped" | "killed" = "running";
  #stoppedAtMs = 0;
  #stoppedMs = 0;
  /** What was due while the process was stopped. */
  #due: (() => void)[] = [];

  constructor(name: string, time: Scheduler) {
    this.name = name;
    this.#time = time;
  }

  get state(): "running" | "stopped" | "killed" {
    return this.#state;
  }

  /** Virtual ms that the process has run for, up to now. */
  ranMs(): number {
    const stoppedNow = this.#state === "stopped" ? this.nowMs() - this.#stoppedAtMs : 0;
    return this.nowMs() - this.#stoppedMs - stoppedNow;
  }

  nowMs(): number {
    return this.#time.nowMs();
  }

  random(): number {
    return this.#time.random();
  }

  after(ms: number, run: () => void): Timer {
    let isCancelled = false;
    const timer = this.#time.after(ms, () => {
      if (this.#state === "running") run();
      else if (this.#state === "stopped") this.#due.push(() => isCancelled || run());
    });
    return {
      cancel() {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  /** SIGSTOP */
  stop(): void {
    if (this.#state !== "running") return;
    this.#state = "stopped";
    this.#stoppedAtMs = this.nowMs();
  }

  /** SIGCONT */
  continue(): void {
    if (this.#state !== "stopped") return;
    this.#state = "running";
    this.#stoppedMs += this.nowMs() - this.#stoppedAtMs;
    const due = this.#due;
    this.#due = [];
    for (const run of due) this.after(0, run);
  }

  /** SIGKILL */
  kill(): void {
    this.#state = "killed";
    this.#due = [];
  }
}
