// Gives a simulated worker its clocks, which a fault can move or stop.

import { NOW_MS } from "../pipeline/record.ts";
import type { WorkerClock } from "../../workers/consumer/ports.ts";
import type { Scheduler } from "./postgres/scheduler.ts";

/** A worker measures its deadlines by the monotonic clock: they are late by as much as that goes back, in all. */
export const MAX_STEPS_BACK_MS = 80;

/** Virtual time goes on from a fixed moment, so that hours end and events are late as in any history. */
export class ProcessClock implements WorkerClock {
  readonly #process: Scheduler;
  #wallMs = NOW_MS;
  #monotonicMs = 0;
  #standsStillAtMs: number | undefined;

  constructor(process: Scheduler) {
    this.#process = process;
  }

  now(): number {
    return this.#standsStillAtMs ?? this.#wallMs + this.#process.nowMs();
  }

  monotonicMs(): number {
    return this.#monotonicMs + this.#process.nowMs();
  }

  /** Somebody sets the clock. */
  move(ms: number): void {
    this.#wallMs += ms;
  }

  stop(): void {
    this.#standsStillAtMs = this.now();
  }

  continue(): void {
    this.#standsStillAtMs = undefined;
  }

  /** The monotonic clock goes back, as after a fault of a virtual machine. */
  stepBack(ms: number): void {
    this.#monotonicMs = Math.max(this.#monotonicMs - ms, -MAX_STEPS_BACK_MS);
  }
}
