// Decides where to go on with partitions whose offset is not in their log.

import type { TopicPartition } from "../../shared/event.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment, OwnedPartition, PartitionIn } from "./assignment.ts";
import { ResyncNeeded } from "./failure.ts";
import type { Intake } from "./intake.ts";
import type { LogSurveys } from "./log-survey.ts";
import type { DatabaseSession, KafkaPort } from "./ports.ts";

/** One step of work with the database. `run` does not change the worker; the loop calls the function that it returns. */
export interface PlacementWork {
  readonly kind: "placing" | "settling" | "ending_peers";
  readonly run: (session: DatabaseSession) => Promise<() => void>;
}

/** Moves partitions from `out_of_range` and `beyond_end` to `fetching`. */
export class Settlement {
  readonly #kafka: Pick<KafkaPort, "fetch" | "stop" | "slot">;
  readonly #assignment: Assignment;
  readonly #intake: Pick<Intake, "holds">;
  readonly #surveys: Pick<LogSurveys, "hurry">;
  readonly #telemetry: WorkerTelemetry;

  constructor(
    kafka: Pick<KafkaPort, "fetch" | "stop" | "slot">,
    assignment: Assignment,
    intake: Pick<Intake, "holds">,
    surveys: Pick<LogSurveys, "hurry">,
    telemetry: WorkerTelemetry,
  ) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#intake = intake;
    this.#surveys = surveys;
    this.#telemetry = telemetry;
  }

  /** Kafka reports, once, that the offset is not in the log. The partition delivers nothing until it is settled. */
  onOutOfRange(partition: TopicPartition): void {
    const owned = this.#assignment.get(this.#kafka.slot(partition));
    if (owned === undefined || !this.#assignment.markOutOfRange(owned)) return;
    this.#kafka.stop([owned]);
    this.#surveys.hurry();
  }

  /** Takes what Kafka has answered about the log of a partition. */
  apply(owned: OwnedPartition, beginning: number | undefined, end: number | undefined): void {
    const { state } = owned;
    if (state.kind === "out_of_range" && beginning !== undefined && end !== undefined) {
      state.bounds = { beginning, end };
    } else if (state.kind === "beyond_end" && end !== undefined && end >= state.stored) {
      this.#kafka.fetch([this.#assignment.startFetchingAt(owned, state)]);
    }
  }

  isDue(): boolean {
    return this.#settleable().length > 0;
  }

  /** The next step of work, if one is due. */
  next(): PlacementWork | undefined {
    const settleable = this.#settleable();
    if (settleable.length === 0) return undefined;
    return { kind: "settling", run: (session) => this.#settle(session, settleable) };
  }

  /** Partitions whose records are all committed, so that the stored offset is exact. */
  #settleable(): PartitionIn<"out_of_range">[] {
    return this.#assignment
      .in("out_of_range")
      .filter(({ slot, state }) => state.bounds !== undefined && !this.#intake.holds(slot));
  }

  /** Skips and counts records that Kafka deleted before they were read. A partition past the end of its log waits. */
  async #settle(
    session: DatabaseSession,
    outOfRange: readonly PartitionIn<"out_of_range">[],
  ): Promise<() => void> {
    const settled: (() => void)[] = [];
    for (const owned of outOfRange) {
      const { topic, partition, state } = owned;
      const { topicId, reading, stored } = state;
      const { beginning, end } = state.bounds!;
      if (stored > end) {
        settled.push(() => {
          this.#assignment.markBeyondEnd(owned);
          this.#telemetry.beyondEnd(topic, partition, stored, end);
        });
        continue;
      }
      const start = Math.max(stored, beginning);
      if (start > stored) {
        const from = { topic, topicId, partition, reading, nextOffset: stored };
        const isSkipped = await session.skipGap(from, start);
        if (!isSkipped) {
          throw new ResyncNeeded(
            "fence",
            `${topic}[${partition}]: the stored offset was moved by another worker`,
          );
        }
      }
      settled.push(() => {
        if (start > stored) this.#telemetry.gapSkipped(topic, partition, stored, start);
        this.#kafka.fetch([this.#assignment.startFetchingAt(owned, { topicId, reading, stored: start })]);
      });
    }
    return () => {
      for (const [index, apply] of settled.entries()) {
        const owned: OwnedPartition = outOfRange[index]!;
        if (this.#assignment.holds(owned) && owned.state.kind === "out_of_range") apply();
      }
    };
  }
}
