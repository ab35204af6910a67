// Commits a worker's batches, one at a time, and applies what became of each.

import type { Batch } from "../../shared/pipeline/batch.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import { DeadlineExceeded } from "../../shared/store/sqlstate.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment } from "./assignment.ts";
import type { DeadLetterLimit } from "./dead-letter-limit.ts";
import type { DatabaseWork } from "./database-work.ts";
import type { Intake } from "./intake.ts";
import type { DatabaseSession, KafkaPort, WorkerClock } from "./ports.ts";
import { type Recovery, resyncOrThrow } from "./recovery.ts";
import { assertSameTopics } from "./topic-check.ts";

interface Surroundings {
  readonly kafka: Pick<KafkaPort, "commit" | "topicIds">;
  readonly clock: WorkerClock;
  readonly work: DatabaseWork;
  readonly assignment: Assignment;
  readonly intake: Pick<Intake, "release" | "shrink" | "noteCommit" | "drop">;
  readonly deadLetterLimit: Pick<DeadLetterLimit, "isSet" | "count">;
  readonly recovery: Recovery;
  readonly telemetry: WorkerTelemetry;
  readonly isDraining: () => boolean;
  /** Called after each answered COMMIT, when the telemetry has moved. */
  readonly onCommitted: () => void;
}

export class BatchCommitter {
  readonly #surroundings: Surroundings;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** Begins the transaction of a batch. */
  commit(session: DatabaseSession, batch: Batch, isRetry = false): void {
    const { work, clock, kafka } = this.#surroundings;
    work.begin({ kind: "committing", sinceMs: clock.monotonicMs(), batch }, async () => {
      // Kafka answers while the statements run; they may have failed by then.
      const proof = assertSameTopics(kafka, batch);
      proof.catch(() => undefined);
      try {
        const report = await session.commit(batch, proof);
        return () => this.#onCommit(batch, report);
      } catch (error) {
        return () => this.#onFailed(session, batch, isRetry, error);
      }
    });
  }

  #onCommit(batch: Batch, report: CommitReport): void {
    const { kafka, clock, assignment, intake, deadLetterLimit, recovery, telemetry, onCommitted } =
      this.#surroundings;
    for (const [slot, span] of batch.spans) assignment.markCommitted(slot, span);
    telemetry.batchCommitted(batch, report);
    onCommitted();
    const owned = [...batch.spans].filter(([slot]) => assignment.get(slot) !== undefined);
    const offsets = owned.map(([, { topic, partition, to }]) => ({ topic, partition, offset: to }));
    if (deadLetterLimit.isSet) intake.drop(deadLetterLimit.count(batch.rejected.refusedPlaces()));
    intake.release(batch);
    intake.noteCommit();
    recovery.committed(clock.monotonicMs());
    // Kafka's own offsets, for lag tools; they decide nothing. Last, because Kafka may refuse them.
    kafka.commit(offsets);
  }

  #onFailed(session: DatabaseSession, batch: Batch, isRetry: boolean, error: unknown): void {
    const { intake, recovery, telemetry, isDraining } = this.#surroundings;
    const failure = resyncOrThrow(error);
    const isTransient = failure.cause === "transient" || failure.cause === "blocked";
    // A drain has no later turn: a transaction that lost against another one is tried once more.
    if (isDraining() && isTransient && !isRetry) return this.commit(session, batch, true);
    // A server that stands still looks the same; then smaller batches only cost a little time.
    if (error instanceof DeadlineExceeded)
      telemetry.batchesShrunk(batch.records, intake.shrink(batch.records));
    intake.release(batch);
    recovery.noteFailedBatch(failure);
  }
}
