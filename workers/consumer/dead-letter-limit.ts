// Stops a partition of whose last records too many are dead letters (DEAD_LETTER_LIMIT).

import type { RejectedPlace } from "../../shared/pipeline/rejected-records.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment } from "./assignment.ts";
import { DeadLetterBudget } from "./dead-letter-budget.ts";
import type { KafkaPort } from "./ports.ts";

export class DeadLetterLimit {
  readonly #kafka: Pick<KafkaPort, "stop">;
  readonly #assignment: Assignment;
  readonly #telemetry: Pick<WorkerTelemetry, "deadLetterLimitExceeded">;
  readonly #budget: DeadLetterBudget;
  /** False where nothing has to be counted. */
  readonly isSet: boolean;

  /** @param limit a share of the last records, 0 to 1; undefined: there is none */
  constructor(
    limit: number | undefined,
    kafka: Pick<KafkaPort, "stop">,
    assignment: Assignment,
    telemetry: Pick<WorkerTelemetry, "deadLetterLimitExceeded">,
  ) {
    this.isSet = limit !== undefined;
    this.#budget = new DeadLetterBudget(limit);
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#telemetry = telemetry;
  }

  /**
   * Counts dead letters, and stops the partitions that exceed the limit.
   * @returns the slots of those: what is read of them and not in a transaction yet has to be dropped
   */
  count(places: Iterable<RejectedPlace>): ReadonlySet<number> {
    const stopped = new Set<number>();
    for (const { slot, span, offset, reason } of places) {
      if (stopped.has(slot)) continue;
      const excess = this.#budget.note(slot, span, offset, reason);
      const owned = this.#assignment.get(slot);
      if (excess === undefined || owned === undefined) continue;
      if (!this.#assignment.markOverLimit(owned, excess)) continue;
      stopped.add(slot);
      this.#kafka.stop([owned]);
      this.#telemetry.deadLetterLimitExceeded(owned.topic, owned.partition, offset, excess.because);
    }
    return stopped;
  }
}
