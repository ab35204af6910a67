// Reports the owned partitions: their lag and states as metrics, and for /readyz and the page.

import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment, OwnedPartition } from "./assignment.ts";
import type { LogSurveys } from "./log-survey.ts";
import type { KafkaPort } from "./ports.ts";
import type { PartitionStatus } from "./thread-messages.ts";

export class PartitionReport {
  readonly #kafka: Pick<KafkaPort, "position">;
  readonly #assignment: Assignment;
  readonly #surveys: Pick<LogSurveys, "lacksId">;
  readonly #telemetry: WorkerTelemetry;

  constructor(
    kafka: Pick<KafkaPort, "position">,
    assignment: Assignment,
    surveys: Pick<LogSurveys, "lacksId">,
    telemetry: WorkerTelemetry,
  ) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#surveys = surveys;
    this.#telemetry = telemetry;
  }

  /** Records that are not stored yet. Control records below the position do not count as lag. */
  lagOf(owned: OwnedPartition): number | undefined {
    if (owned.end === undefined || owned.lastStored === undefined) return undefined;
    const position = owned.state.kind === "fetching" ? (this.#kafka.position(owned) ?? 0) : 0;
    return Math.max(0, owned.end - Math.max(position, owned.lastStored));
  }

  /** True where records are known to wait that can be read. */
  hasLag(): boolean {
    const read = this.#assignment.all().filter(({ state }) => state.kind !== "over_limit");
    return read.some((owned) => (this.lagOf(owned) ?? 0) > 0);
  }

  statuses(): PartitionStatus[] {
    return this.#assignment.all().map((owned) => ({
      topic: owned.topic,
      partition: owned.partition,
      state: owned.state.kind,
      storedOffset: owned.lastStored,
      endOffset: owned.end,
      lag: this.lagOf(owned),
      unplacedBecause: this.#whyUnplaced(owned),
      unreadableBecause: owned.state.kind === "fetching" ? owned.state.unreadable?.reason : undefined,
      overLimitBecause: owned.state.kind === "over_limit" ? owned.state.excess.because : undefined,
    }));
  }

  #whyUnplaced({ state, topic }: OwnedPartition): string | undefined {
    if (state.kind !== "awaiting_offset" || !this.#surveys.lacksId(topic)) return undefined;
    return `topic ${topic} has no id: it was deleted, or the consumer may not describe it`;
  }

  /** Sets the metrics. */
  publish(): void {
    for (const owned of this.#assignment.all()) {
      this.#telemetry.lag(owned.topic, owned.partition, this.lagOf(owned));
    }
    this.#telemetry.pausedPartitions(this.#assignment.size - this.#assignment.in("fetching").length);
    this.#telemetry.unreadablePartitions(this.#assignment.unreadable().length);
    this.#telemetry.overLimitPartitions(
      this.#assignment.in("over_limit").map(({ state }) => state.excess.reason),
    );
  }
}
