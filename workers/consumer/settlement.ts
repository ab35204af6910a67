// Decides where to read on a partition whose log does not hold the stored offset, or was cut below it.

import type { TopicPartition } from "../../shared/event.ts";
import type { LogTruncation } from "../../shared/kafka/log-truncation.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment, LogBounds, OwnedPartition, PartitionIn } from "./assignment.ts";
import { ResyncNeeded } from "./failure.ts";
import type { Intake } from "./intake.ts";
import type { LogSurveys } from "./log-survey.ts";
import type { DatabaseSession, KafkaPort, WorkerOptions } from "./ports.ts";

/** One step of work with the database. `run` does not change the worker; the loop calls the function that it returns. */
export interface PlacementWork {
  readonly kind: "placing" | "settling" | "ending_peers";
  readonly run: (session: DatabaseSession) => Promise<() => void>;
}

type OutOfRange = PartitionIn<"out_of_range">;

/** Where to read on, and why there. `leaderEpoch` is that of the last record below `at`, where it is known. */
type Finding =
  /** The log holds the stored offset after all. */
  | { readonly kind: "unchanged"; readonly at: number; readonly leaderEpoch: number | undefined }
  /** Kafka has deleted the records below `at`, which were not read. */
  | { readonly kind: "deleted"; readonly at: number; readonly leaderEpoch: undefined }
  /** From `at` on the log may hold other records than those that were read. */
  | { readonly kind: "cut"; readonly at: number; readonly leaderEpoch: number | undefined };

function findingOf(state: OutOfRange["state"], bounds: LogBounds, hasStoredIds: boolean): Finding {
  const { stored, leaderEpoch } = state;
  const cut = cutOf(state, bounds, hasStoredIds);
  if (cut !== undefined) return { kind: "cut", ...cut };
  if (bounds.beginning > stored) return { kind: "deleted", at: bounds.beginning, leaderEpoch: undefined };
  return { kind: "unchanged", at: stored, leaderEpoch };
}

/**
 * From where on another reading begins, where the log was cut below the stored offset. A report may be late, from before
 * a resync: what was stored since was written after the cut, by a later leader, and a report of records that were not
 * stored concerns nothing.
 *
 * Where it is not known from where on the log was rewritten, all that it holds is read again: the event ids keep
 * out what is stored already. Without stored ids nothing would, so only what comes from now on is read.
 */
function cutOf(
  { stored, leaderEpoch, truncation }: OutOfRange["state"],
  { beginning, end }: LogBounds,
  hasStoredIds: boolean,
): Pick<Finding, "at" | "leaderEpoch"> | undefined {
  if (truncation?.end !== undefined) {
    const isLate = leaderEpoch !== undefined && leaderEpoch > truncation.readEpoch;
    if (isLate || truncation.end >= stored) return undefined;
    return { at: truncation.end, leaderEpoch: truncation.endEpoch };
  }
  const isOfStored =
    truncation === undefined
      ? stored > end
      : leaderEpoch === undefined || leaderEpoch === truncation.readEpoch;
  if (!isOfStored) return undefined;
  return { at: Math.min(stored, hasStoredIds ? beginning : end), leaderEpoch: undefined };
}

/** @returns the reading in which the partition is read on; undefined where the stored offset has moved */
async function record(
  session: DatabaseSession,
  from: StoredOffset,
  { kind, at, leaderEpoch }: Finding,
): Promise<number | undefined> {
  switch (kind) {
    case "unchanged":
      return from.reading;
    case "deleted":
      return (await session.skipGap(from, at)) ? from.reading : undefined;
    case "cut":
      return (await session.startReading(from, at, leaderEpoch))?.reading;
  }
}

interface Surroundings {
  readonly kafka: Pick<KafkaPort, "fetch" | "stop" | "slot">;
  readonly assignment: Assignment;
  readonly intake: Pick<Intake, "holds">;
  readonly surveys: Pick<LogSurveys, "hurry">;
  readonly telemetry: WorkerTelemetry;
}

/** Moves partitions from `out_of_range` to `fetching`. */
export class Settlement {
  readonly #kafka: Surroundings["kafka"];
  readonly #assignment: Assignment;
  readonly #intake: Surroundings["intake"];
  readonly #surveys: Surroundings["surveys"];
  readonly #telemetry: WorkerTelemetry;
  /** True where the database knows the id of each stored event. */
  readonly #hasStoredIds: boolean;

  constructor(
    { saveRawEvents }: Pick<WorkerOptions, "saveRawEvents">,
    { kafka, assignment, intake, surveys, telemetry }: Surroundings,
  ) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#intake = intake;
    this.#surveys = surveys;
    this.#telemetry = telemetry;
    this.#hasStoredIds = saveRawEvents;
  }

  /**
   * Kafka reports, once, that the offset is not in the log, or that the log was cut below it. The partition delivers
   * nothing until it is settled.
   */
  onOutOfRange(partition: TopicPartition, truncation: LogTruncation | undefined): void {
    const owned = this.#assignment.get(this.#kafka.slot(partition));
    if (owned === undefined || !this.#assignment.markOutOfRange(owned, truncation)) return;
    this.#kafka.stop([owned]);
    this.#surveys.hurry();
  }

  /** Takes what Kafka has answered about the log of a partition. */
  apply(owned: OwnedPartition, beginning: number | undefined, end: number | undefined): void {
    const { state } = owned;
    if (state.kind === "out_of_range" && beginning !== undefined && end !== undefined) {
      state.bounds = { beginning, end };
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
  #settleable(): OutOfRange[] {
    return this.#assignment
      .in("out_of_range")
      .filter(({ slot, state }) => state.bounds !== undefined && !this.#intake.holds(slot));
  }

  /** Records what became of the logs, partition by partition. @returns a function that fetches them again */
  async #settle(session: DatabaseSession, outOfRange: readonly OutOfRange[]): Promise<() => void> {
    const settled: (() => void)[] = [];
    for (const owned of outOfRange) {
      const { topic, partition, state } = owned;
      const { topicId, stored } = state;
      const finding = findingOf(state, state.bounds!, this.#hasStoredIds);
      const { kind, at, leaderEpoch } = finding;
      const from = { topic, topicId, partition, reading: state.reading, nextOffset: stored };
      const reading = await record(session, from, finding);
      if (reading === undefined) {
        throw new ResyncNeeded(
          "fence",
          `${topic}[${partition}]: the stored offset was moved by another worker`,
        );
      }
      // At once: it is stored, whether or not the partition is still owned when the loop takes the outcome.
      if (kind === "deleted") this.#telemetry.gapSkipped(topic, partition, stored, at);
      if (kind === "cut") this.#telemetry.logCut(topic, partition, stored, at);
      settled.push(() => {
        this.#kafka.fetch([
          this.#assignment.startFetchingAt(owned, { topicId, reading, stored: at, leaderEpoch }),
        ]);
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
