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

/** Failures and pauses of one worker; all times are ms of the monotonic clock. */
export class Recovery {
  readonly #telemetry: WorkerTelemetry;
  readonly #backoff: Backoff;
  #failure: Resync | undefined;
  #pause: Pause | undefined;
  #hasFailedBatch = false;

  constructor(clock: WorkerClock, telemetry: WorkerTelemetry) {
    this.#backoff = new Backoff(FIRST_WAIT_MS, MAX_WAIT_MS, clock);
    this.#telemetry = telemetry;
  }

  /** A failure that waits for its resync. */
  get failure(): Resync | undefined {
    return this.#failure;
  }

  /** Why the worker is paused, if it is. */
  get reason(): Resync | undefined {
    return this.#pause?.reason;
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
    this.#failure ??= failure;
  }

  /** A batch could not be committed; reading may go on all the same. */
  noteFailedBatch(failure: Resync): void {
    this.#hasFailedBatch = true;
    this.note(failure);
  }

  /** True while the pause is that of a failed batch. */
  get hasFailedBatch(): boolean {
    return this.#hasFailedBatch;
  }

  /** Takes the failure: the worker resyncs now. */
  take(): Resync | undefined {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure;
  }

  /** Starts the pause, or gives a running one its newest reason. @returns how long to wait before the next attempt, ms */
  pause(reason: Resync, nowMs: number): number {
    const waitMs = this.#backoff.next();
    this.#pause = { sinceMs: nowMs, countedToMs: nowMs, ...this.#pause, reason };
    this.#telemetry.resynced(reason.cause, reason.message, this.#backoff.attempts, waitMs);
    return waitMs;
  }

  /** True if the session must be replaced although the fault does not say so. */
  get suspectsSession(): boolean {
    return this.#backoff.attempts % FAULTS_PER_SESSION === 0;
  }

  /** Adds the time since the last call to the metric. */
  countPause(nowMs: number): void {
    if (this.#pause === undefined) return;
    this.#telemetry.paused((nowMs - this.#pause.countedToMs) / 1000);
    this.#pause.countedToMs = nowMs;
  }

  resume(nowMs: number): void {
    if (this.#pause === undefined) return;
    this.countPause(nowMs);
    this.#telemetry.flowResumed(nowMs - this.#pause.sinceMs);
    this.#pause = undefined;
    this.#hasFailedBatch = false;
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
