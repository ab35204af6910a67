// Deletes what is older than its retention: whole hours, and letters and metrics by age, in short transactions.

import type { Session, Transaction } from "../session.ts";
import { type RetentionDays, raiseCutoffs, sealHours } from "./cutoff.ts";
import { AgePruner } from "./prune-by-age.ts";
import { EventPruner } from "./prune-events.ts";
import type { PrunedTable, Pruner } from "./pruner.ts";
import { UserPruner } from "./prune-users.ts";
import { RETENTION_LOCK } from "./retention-lock.ts";
import { StepSize } from "./step-size.ts";

const STEP_DEADLINE_MS = 20_000;
const LEAST_HOURS = 50;
const MOST_HOURS = 2000;

export interface RetentionProgress {
  /** After each answered COMMIT. @param rows that were deleted; none by a step that seals hours or searches in vain */
  readonly onStep: (table: PrunedTable | "sealed_hours", rows: number, seconds: number) => void;
  /** True: ends after the current step. */
  readonly isToStop: () => boolean;
}

/** Another process is at it, or a rebuild. */
class Busy extends Error {
  override readonly name = "Busy";
}

/**
 * Prunes a database. Every step is one transaction, and can be killed at any moment: what was deleted is counted in it.
 * One process at a time takes steps.
 */
export class Retention {
  readonly #days: RetentionDays;
  readonly #pruners: readonly Pruner[];
  readonly #hoursAtOnce = new StepSize(LEAST_HOURS, MOST_HOURS);

  constructor(days: RetentionDays) {
    this.#days = days;
    this.#pruners = [
      ...(days.rawEvents === undefined ? [] : [new EventPruner()]),
      ...(days.hourlyUsers === undefined ? [] : [new UserPruner()]),
      ...(days.deadLetters === undefined ? [] : [new AgePruner("dead_letter_events", days.deadLetters)]),
      ...(days.pipelineMetrics === undefined
        ? []
        : [new AgePruner("pipeline_metrics", days.pipelineMetrics)]),
    ];
  }

  /**
   * Deletes what is due, the oldest first, until nothing is left or it is to stop. Between two steps it rests as long as
   * the last one took.
   * @returns false where another process is at it
   */
  async run(session: Session, progress: RetentionProgress): Promise<boolean> {
    try {
      const { rawEvents, hourlyUsers } = this.#days;
      if (rawEvents !== undefined || hourlyUsers !== undefined) await this.#seal(session, progress);
      for (const pruner of this.#pruners) await prune(session, pruner, progress);
      return true;
    } catch (error) {
      for (const pruner of this.#pruners) pruner.forget();
      if (error instanceof Busy) return false;
      throw error;
    }
  }

  async #seal(session: Session, progress: RetentionProgress): Promise<void> {
    await takeStep(session, (tx) => raiseCutoffs(tx, this.#days));
    for (let isDone = false; !isDone && !progress.isToStop(); ) {
      const limit = this.#hoursAtOnce.current;
      const { result, workMs, ms } = await takeStep(session, (tx) => sealHours(tx, limit));
      this.#hoursAtOnce.adapt(workMs);
      progress.onStep("sealed_hours", 0, ms / 1000);
      isDone = result < limit;
    }
  }
}

async function prune(session: Session, pruner: Pruner, progress: RetentionProgress): Promise<void> {
  while (!progress.isToStop()) {
    const step = await pruner.next(session);
    if (step === undefined) return;
    const { result, workMs, ms } = await takeStep(session, async (tx) => {
      // A crash of the server may bring the rows back, together with what counts them.
      await tx`set local synchronous_commit = off`;
      return await step.run(tx);
    });
    step.committed(result, workMs);
    progress.onStep(pruner.table, result, ms / 1000);
    // So that consumers have the disk and the processor for at least half of the time.
    await Bun.sleep(ms);
  }
}

interface StepResult<T> {
  readonly result: T;
  /** Without BEGIN and COMMIT, whose time does not depend on how much the step deletes. */
  readonly workMs: number;
  readonly ms: number;
}

/** @throws Busy */
async function takeStep<T>(session: Session, body: (tx: Transaction) => Promise<T>): Promise<StepResult<T>> {
  const startedAt = performance.now();
  let workMs = 0;
  const result = await session.transaction(STEP_DEADLINE_MS, async (tx) => {
    const [row] = await tx<[{ locked: boolean }]>`
      select pg_try_advisory_xact_lock(${RETENTION_LOCK}::bigint) as locked`;
    if (!row.locked) throw new Busy("another process holds the lock of the retention");
    const workStartedAt = performance.now();
    const found = await body(tx);
    workMs = performance.now() - workStartedAt;
    return found;
  });
  return { result, workMs, ms: performance.now() - startedAt };
}
