// What the main thread and the worker threads of the consumer say to each other.

import type { PartitionStateName } from "./assignment.ts";
import type { Config } from "../../shared/config/config.ts";
import type { Recording } from "../../shared/telemetry/recorder.ts";

/** From the main thread. */
export type WorkerCommand =
  | { readonly kind: "start"; readonly worker: number; readonly config: Config }
  /** Commit what has been read, leave the group, end. */
  | { readonly kind: "drain" };

/** One partition as its worker sees it; offsets are the next ones to read. */
export interface PartitionStatus {
  readonly topic: string;
  readonly partition: number;
  readonly state: PartitionStateName;
  readonly storedOffset: number | undefined;
  readonly endOffset: number | undefined;
  readonly lag: number | undefined;
}

/** How a worker is, several times a second. */
export interface WorkerStatus {
  /** The group has answered at least once. */
  readonly hasJoined: boolean;
  readonly hasDatabase: boolean;
  /** Whole seconds that the transaction in flight has waited for an answer. */
  readonly databaseUnansweredSeconds: number;
  /** Why Kafka does not say how far its logs reach, where that is so. */
  readonly kafkaFault: string | undefined;
  /** Why nothing flows, where that is so. */
  readonly pausedBecause: string | undefined;
  readonly partitions: readonly PartitionStatus[];
}

/** From a worker thread. */
export type WorkerReport =
  | {
      readonly kind: "report";
      readonly recording: Recording | undefined;
      readonly status: WorkerStatus | undefined;
    }
  /** The thread has let go of everything; `failure` where it was not asked to. */
  | { readonly kind: "ended"; readonly failure: string | undefined };
