// Runs what is planned in the order of virtual time, as fast as the processor can.

import { drainMicrotasks } from "bun:jsc";
import type { Scheduler, Timer } from "./postgres/scheduler.ts";

interface Planned extends Timer {
  readonly atMs: number;
  /** Of two for the same moment the one that was planned first runs first. */
  readonly sequence: number;
  run: (() => void) | undefined;
}

/** Virtual time and seeded chance. All promises that can settle have settled before the next planned thing runs. */
export class VirtualTime implements Scheduler {
  readonly random: () => number;
  /** A heap: each entry is due before the two at twice its place. */
  readonly #heap: Planned[] = [];
  #nowMs = 0;
  #sequence = 0;

  constructor(random: () => number) {
    this.random = random;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(ms: number, run: () => void): Timer {
    const planned: Planned = {
      atMs: this.#nowMs + Math.max(0, ms),
      sequence: this.#sequence++,
      run,
      cancel() {
        planned.run = undefined;
      },
    };
    this.#push(planned);
    return planned;
  }

  /** Runs what is planned up to a moment, or until `isDone`, which is asked after each step. */
  runUntil(atMs: number, isDone: () => boolean = () => false): void {
    drainMicrotasks();
    while (!isDone()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > atMs) break;
      this.#pop();
      const { run } = next;
      if (run === undefined) continue;
      this.#nowMs = next.atMs;
      run();
      drainMicrotasks();
    }
    if (!isDone()) this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(planned);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(planned, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = planned;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}
