// Wakes a worker's loop under virtual time, and counts its turns.

import type { Notifier } from "../../shared/runtime/notifier.ts";
import type { Scheduler } from "./postgres/scheduler.ts";

/** What a turn of the loop takes at least, so that a loop that never rests does not stop the time. */
const TURN_MS = 0.05;

/** Behaves as `Notifier`, in the time of a simulated process. */
export class VirtualNotifier implements Pick<Notifier, "notify" | "wait"> {
  readonly #process: Scheduler;
  #wake: (() => void) | undefined;
  #isNotified = false;
  turns = 0;

  constructor(process: Scheduler) {
    this.#process = process;
  }

  notify(): void {
    this.#isNotified = true;
    this.#wake?.();
  }

  wait(ms: number): Promise<void> {
    this.turns++;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => {
      this.#isNotified = false;
      resolve();
    };
    if (this.#isNotified) {
      this.#process.after(TURN_MS, end);
      return promise;
    }
    const timer = this.#process.after(Math.max(ms, 1), () => this.#wake?.());
    this.#wake = () => {
      this.#wake = undefined;
      timer.cancel();
      this.#process.after(TURN_MS, end);
    };
    return promise;
  }
}
