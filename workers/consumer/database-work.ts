// Runs a worker's work with the database, one task at a time, and keeps its outcome for the loop.

import type { Batch } from "../../shared/pipeline/batch.ts";

/** What the database is doing: nothing while `idle`, nor while `backing_off`, where the next work waits for `untilMs`. */
export type Work =
  | { readonly kind: "idle"; readonly fromMs: number }
  | { readonly kind: "backing_off"; readonly untilMs: number }
  | {
      readonly kind: "connecting" | "placing" | "settling" | "ending_peers" | "probing";
      readonly sinceMs: number;
    }
  | { readonly kind: "committing"; readonly sinceMs: number; readonly batch: Batch };

/** Work in progress; all times are ms of the monotonic clock. */
export class DatabaseWork {
  readonly #onEnded: () => void;
  #current: Work = { kind: "idle", fromMs: -Infinity };
  #outcome: (() => void) | undefined;
  /** The kind of the work that was begun last. */
  last: Work["kind"] = "idle";

  /** @param onEnded called when there is an outcome to take */
  constructor(onEnded: () => void) {
    this.#onEnded = onEnded;
  }

  get current(): Work {
    return this.#current;
  }

  /** True while nothing is being done, also during a back-off. */
  get isFree(): boolean {
    return this.#current.kind === "idle" || this.#current.kind === "backing_off";
  }

  /** How long a statement has been waiting for the database's answer. */
  unansweredMs(nowMs: number): number {
    const work = this.#current;
    return "sinceMs" in work && work.kind !== "connecting" ? nowMs - work.sinceMs : 0;
  }

  /** True while a transaction holds records of a partition. */
  isInFlight(slot: number): boolean {
    return this.#current.kind === "committing" && this.#current.batch.spans.has(slot);
  }

  backOff(untilMs: number): void {
    this.#current = { kind: "backing_off", untilMs };
  }

  /** Ends the back-off whose time has come, also where there is nothing to do next. */
  endBackOff(nowMs: number): void {
    if (this.#current.kind === "backing_off" && this.#current.untilMs <= nowMs)
      this.#current = { kind: "idle", fromMs: nowMs };
  }

  /**
   * Begins work, when nothing else is being done.
   * @param run does the work without changing the worker; it returns a function by which the loop applies the result
   */
  begin(work: Exclude<Work, { kind: "idle" | "backing_off" }>, run: () => Promise<() => void>): void {
    this.#current = work;
    this.last = work.kind;
    const end = (outcome: () => void): void => {
      this.#outcome = outcome;
      this.#onEnded();
    };
    run().then(end, (error: unknown) =>
      end(() => {
        throw error;
      }),
    );
  }

  /** Runs the outcome of the work that has ended, if any. @throws what the work threw */
  takeOutcome(nowMs: number): void {
    const outcome = this.#outcome;
    if (outcome === undefined) return;
    this.#outcome = undefined;
    this.#current = { kind: "idle", fromMs: nowMs };
    outcome();
  }
}
