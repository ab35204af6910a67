// A committed batch in; its figures told to the telemetry.

import type { Batch } from "../../shared/pipeline/batch.ts";
import type { CommitReport } from "../../shared/store/store.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";

/** @param committedAtMs the database's clock when the COMMIT was answered */
export function reportCommit(
  telemetry: WorkerTelemetry,
  batch: Batch,
  report: CommitReport,
  committedAtMs: number,
): void {
  telemetry.batchCommitted({
    records: [...batch.spans.values()].reduce((sum, { consumed }) => sum + consumed, 0),
    spans: [...batch.spans.values()],
    deadLetters: batch.rejections(),
    deltas: report.deltas,
    createdHours: report.createdHours,
    newUsers: report.newUsers,
    rawRows: report.rawRows,
    copyFailed: report.copyFailed,
    storedAtMs: report.stored.map(({ event }) => event.timestampMs),
    committedAtMs,
    processingSeconds: (performance.now() - batch.openedAtMs) / 1000,
    transformationSeconds: batch.transformationSeconds,
    aggregationSeconds: report.aggregationSeconds,
    transactionSeconds: report.transactionSeconds,
  });
}
