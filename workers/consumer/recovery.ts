// Keeps a worker's failure until the worker resyncs, and its pause until it reads all partitions again.

import { Backoff } from "../../shared/runtime/backoff.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { WorkerClock } from "./ports.ts";
import { classifyFailure, type Resync } from "./failure.ts";

const FIRST_WAIT_MS = 100;
const MAX_WAIT_MS = 5000;
/** The session itself may cause a fault that repeats, so it is replaced after this many faults in a row. */
const FAULTS_PER_SESSION = 5;

interface Pause {
  readonly reason: Resync;
  readonly sinceMs: number;
  /** Up to here the pause is in the metric already. */
  countedToMs: number;
}

/**
 * `failed`: the failure waits until the database does nothing more; then the worker resyncs, and is `paused` until all
 * partitions are read again. A failure may come during a pause, which goes on then.
 */
type Flow =
  | { readonly kind: "flowing" }
  | {
      readonly kind: "failed";
      readonly failure: Resync;
      readonly hasFailedBatch: boolean;
      readonly pause: Pause | undefined;
    }
  | { readonly kind: "paused"; readonly hasFailedBatch: boolean; readonly pause: Pause };

/** Failures and pauses of one worker; all times are ms of the monotonic clock. */
export class Recovery {
  readonly #telemetry: WorkerTelemetry;
  readonly #backoff: Backoff;
  #flow: Flow = { kind: "flowing" };

  constructor(clock: WorkerClock, telemetry: WorkerTelemetry) {
    this.#backoff = new Backoff(FIRST_WAIT_MS, MAX_WAIT_MS, clock);
    this.#telemetry = telemetry;
  }

  /** A failure that waits for its resync. */
  get failure(): Resync | undefined {
    return this.#flow.kind === "failed" ? this.#flow.failure : undefined;
  }

  /** Why the worker is paused, if it is. */
  get reason(): Resync | undefined {
    return this.#pause?.reason;
  }

  /** True where a batch could not be committed since the flow stopped. */
  get hasFailedBatch(): boolean {
    return this.#flow.kind !== "flowing" && this.#flow.hasFailedBatch;
  }

  get #pause(): Pause | undefined {
    return this.#flow.kind === "flowing" ? undefined : this.#flow.pause;
  }

  /**
   * Runs a part of the worker's turn, and keeps the error that it throws. The first failure wins.
   * @throws FatalError for a failure that no retry fixes
   */
  attempt(part: () => void): void {
    try {
      part();
    } catch (error) {
      this.note(resyncOrThrow(error));
    }
  }

  note(failure: Resync): void {
    this.#fail(failure, this.hasFailedBatch);
  }

  /** A batch could not be committed; reading may go on all the same. */
  noteFailedBatch(failure: Resync): void {
    this.#fail(failure, true);
  }

  #fail(failure: Resync, hasFailedBatch: boolean): void {
    this.#flow = { kind: "failed", failure: this.failure ?? failure, hasFailedBatch, pause: this.#pause };
  }

  /** Drops the failure of a worker that needs no resync. */
  dismiss(): void {
    const flow = this.#flow;
    if (flow.kind !== "failed") return;
    const { hasFailedBatch, pause } = flow;
    this.#flow = pause === undefined ? { kind: "flowing" } : { kind: "paused", hasFailedBatch, pause };
  }

  /**
   * Starts the pause after the resync for a failure, or gives a running one its newest reason.
   * @returns how long to wait before the next attempt, ms
   */
  pause(reason: Resync, nowMs: number): number {
    const waitMs = this.#backoff.next();
    const pause = { sinceMs: nowMs, countedToMs: nowMs, ...this.#pause, reason };
    this.#flow = { kind: "paused", hasFailedBatch: this.hasFailedBatch, pause };
    this.#telemetry.resynced(reason.cause, reason.message, this.#backoff.attempts, waitMs);
    return waitMs;
  }

  /** True if the session must be replaced although the fault does not say so. */
  get suspectsSession(): boolean {
    return this.#backoff.attempts % FAULTS_PER_SESSION === 0;
  }

  /** Adds the time since the last call to the metric. */
  countPause(nowMs: number): void {
    const pause = this.#pause;
    if (pause === undefined) return;
    this.#telemetry.paused((nowMs - pause.countedToMs) / 1000);
    pause.countedToMs = nowMs;
  }

  /** Ends the pause; a failure that came meanwhile still waits. */
  resume(nowMs: number): void {
    const pause = this.#pause;
    if (pause === undefined) return;
    this.countPause(nowMs);
    this.#telemetry.flowResumed(nowMs - pause.sinceMs);
    const { failure } = this;
    this.#flow =
      failure === undefined
        ? { kind: "flowing" }
        : { kind: "failed", failure, hasFailedBatch: false, pause: undefined };
  }

  /** A batch was committed: the next fault counts as the first. */
  committed(nowMs: number): void {
    this.#backoff.reset();
    this.resume(nowMs);
  }
}

/** What the worker does about an error. @throws FatalError for a failure that no retry fixes */
export function resyncOrThrow(error: unknown): Resync {
  const failure = classifyFailure(error);
  if (failure.kind === "resync") return failure;
  throw error instanceof FatalError ? error : new FatalError(failure.message, { cause: error });
}
