// Records a worker's telemetry as always, and tells the simulation what happened.

import type { Batch } from "../../shared/pipeline/batch.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import { type ResyncCause, WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { BatchRecorder } from "../../shared/telemetry/recorder.ts";
import type { WorkerObserver } from "./worker-observer.ts";

export class ObservedTelemetry extends WorkerTelemetry {
  readonly #observer: WorkerObserver;

  constructor(recorder: BatchRecorder, log: Logger, observer: WorkerObserver) {
    super(recorder, log);
    this.#observer = observer;
  }

  override resynced(cause: ResyncCause, message: string, attempt: number, waitMs: number): void {
    this.#observer.resynced(cause, message);
    super.resynced(cause, message, attempt, waitMs);
  }

  override batchCommitted(batch: Batch, report: CommitReport): void {
    this.#observer.committed(batch, report);
    super.batchCommitted(batch, report);
  }

  override stuckPeersEnded(backends: readonly number[]): void {
    this.#observer.peersEnded();
    super.stuckPeersEnded(backends);
  }
}
