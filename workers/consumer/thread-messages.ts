// Defines the messages between the main thread and the worker threads of the consumer.

import type { PartitionStateName } from "./assignment.ts";
import type { Config } from "../../shared/config/config.ts";
import type { Recording } from "../../shared/telemetry/recorder.ts";

/** Sent by the main thread. */
export type WorkerCommand =
  | {
      readonly kind: "start";
      readonly worker: number;
      readonly config: Config;
      readonly topicsWithoutId: readonly string[];
    }
  /** Leave the group and join it again. */
  | { readonly kind: "rejoin" }
  /** Commit what was read, leave the group, and end. */
  | { readonly kind: "drain" };

/** One partition as its worker sees it. The offsets are those of the next record. */
export interface PartitionStatus {
  readonly topic: string;
  readonly partition: number;
  readonly state: PartitionStateName;
  readonly storedOffset: number | undefined;
  readonly endOffset: number | undefined;
  readonly lag: number | undefined;
  /** Why its stored offset cannot be read, where the topic is the reason. */
  readonly unplacedBecause: string | undefined;
  /** Why the records at `storedOffset` cannot be read, if they cannot. */
  readonly unreadableBecause: string | undefined;
  /** Which share of its last records are dead letters, and why, where DEAD_LETTER_LIMIT has stopped it. */
  readonly overLimitBecause: string | undefined;
}

/** The state of a worker, sent when it changes. */
export interface WorkerStatus {
  /** The group has answered at least once. */
  readonly hasJoined: boolean;
  readonly hasDatabase: boolean;
  /** Whole seconds since the transaction in flight started. */
  readonly databaseUnansweredSeconds: number;
  /** Why Kafka does not report the ends of its logs; undefined if it does. */
  readonly kafkaFault: string | undefined;
  /** Why nothing is stored; undefined while the worker is not paused. */
  readonly pausedBecause: string | undefined;
  readonly partitions: readonly PartitionStatus[];
}

/** Sent by a worker thread. */
export type WorkerReport =
  | {
      readonly kind: "report";
      readonly recording: Recording | undefined;
      readonly status: WorkerStatus | undefined;
    }
  /** The thread has released everything; `failure` if it ends without a request to drain. */
  | { readonly kind: "ended"; readonly failure: string | undefined };
