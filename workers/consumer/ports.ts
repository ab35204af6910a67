// Declares what a partition worker needs from its surroundings, so that the same class also runs in a simulation.

import type { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import type { Batch } from "../../shared/pipeline/batch.ts";
import type { PartitionKey } from "../../shared/pipeline/span.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import type { Clock } from "../../shared/runtime/clock.ts";
import type { Notifier } from "../../shared/runtime/notifier.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";
import type { LogStart, StoredPosition } from "../../shared/store/positions.ts";

/** Everything outside of a worker that it uses. */
export interface WorkerPorts {
  readonly kafka: KafkaPort;
  readonly database: DatabasePort;
  readonly clock: WorkerClock;
  /** Notified whenever Kafka has something to poll; keeps the time while the worker waits. */
  readonly notifier: Pick<Notifier, "notify" | "wait">;
}

export interface WorkerOptions {
  readonly topics: readonly string[];
  readonly consumerGroup: string;
  readonly batchSize: number;
  readonly saveRawEvents: boolean;
  readonly maxFutureSkewMs: number;
  /** The share of dead letters among the last records of a partition above which it stops; undefined: none. */
  readonly deadLetterLimit?: number | undefined;
}

export type WorkerClock = Pick<Clock, "now" | "monotonicMs">;

/** The group member: records, the group's events, and answers about logs. */
export type KafkaPort = Pick<
  KafkaConsumer,
  | "poll"
  | "slot"
  | "topicPartition"
  | "acknowledgeAssign"
  | "acknowledgeRevoke"
  | "fetch"
  | "stop"
  | "position"
  | "commit"
  | "listOffsets"
  | "topicIds"
  | "isMember"
  | "rejoin"
  | "close"
>;

/** Opens sessions; each attempt reads the credentials again. */
export interface DatabasePort {
  /**
   * @param onLost called once when the open session is lost, also while it is idle
   * @throws what the driver throws, see `classify`
   */
  connect(onLost: () => void): Promise<DatabaseSession>;
}

/**
 * One session, and what the worker remembers of the database through it. Every method is one step of at most one transaction, and the
 * worker runs them one after the other. All of them throw what the driver throws, see `classify`.
 */
export interface DatabaseSession {
  readonly backendPid: number;
  readonly isLost: boolean;
  /** The database's clock, ms since 1970. */
  now(): number;
  /**
   * Stores a batch in one transaction, whose COMMIT waits for the proof.
   * @throws FenceFailed where a stored offset is not what the batch begins at; what the proof throws
   */
  commit(batch: Batch, proof: Promise<unknown>): Promise<CommitReport>;
  /** The stored offsets, see `readPositions` of positions.ts. @throws FatalError where another group has taken the database over */
  readPositions(keys: readonly PartitionKey[]): Promise<readonly StoredPosition[]>;
  /** Enters partitions that were never read, at the start of their logs. */
  enterPartitions(starts: readonly LogStart[]): Promise<void>;
  /** Skips records that Kafka deleted. @returns false where the stored offset has moved */
  skipGap(from: StoredOffset, to: number): Promise<boolean>;
  /**
   * Reads a partition again from an offset, because its log was cut there.
   * @param leaderEpoch that of the last record below `at`, where it is known
   * @returns where it is read then; undefined where the stored offset has moved
   */
  startReading(
    from: StoredOffset,
    at: number,
    leaderEpoch: number | undefined,
  ): Promise<StoredOffset | undefined>;
  /** Asks for an answer, whatever it is. */
  probe(): Promise<void>;
  /** Ends the sessions whose client is stopped in the middle of a transaction. @returns their process ids */
  endStuckPeers(): Promise<number[]>;
  /** Forgets all that was learned of the database. */
  forget(): void;
  /** Ends the session at once. */
  destroy(): void;
  close(): Promise<void>;
}
