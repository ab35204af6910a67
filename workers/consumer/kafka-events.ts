// Handles the events of a worker's Kafka consumer: rebalances, offsets out of range, errors and log lines.

import type { KafkaConfig } from "../../shared/config/config.ts";
import type { TopicPartition } from "../../shared/event.ts";
import type { ConsumerEvent, KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { Assignment } from "./assignment.ts";
import { ResyncNeeded } from "./failure.ts";

/** A revocation waits this long for the transaction in flight. */
const REVOKE_DRAIN_MS = 5000;
/** For the topic and for the group. Before the first record waiting is pointless; later it may be a change in progress. */
const AUTHORIZATION_FAILED: ReadonlySet<number> = new Set([29, 30]);

/** What the events need of the worker. */
export interface KafkaEventsOptions {
  readonly config: KafkaConfig;
  readonly kafka: KafkaConsumer;
  readonly assignment: Assignment;
  readonly telemetry: WorkerTelemetry;
  /** True while a batch is in a transaction. */
  readonly isCommitting: () => boolean;
  /** Wakes the loop up: the assignment has changed. */
  readonly notify: () => void;
  /** Reports an error for the loop to handle. */
  readonly onFault: (error: Error) => void;
  /** Drops the records of these partitions that are in no transaction yet. */
  readonly drop: (slots: readonly number[]) => void;
  /** Is called when partitions were released after a wait: further events may follow. */
  readonly onReleased: () => void;
}

export class KafkaEvents {
  readonly #options: KafkaEventsOptions;
  /** A revocation that waits for the transaction in flight. */
  #pendingRevoke: { readonly partitions: readonly TopicPartition[]; readonly timer: Timer } | undefined;
  /** The group has answered at least once. */
  hasJoined = false;
  /** Set by the worker when the first record has arrived. */
  hasFetched = false;

  constructor(options: KafkaEventsOptions) {
    this.#options = options;
  }

  /** @throws FatalError for what no retry solves */
  handle(event: ConsumerEvent): void {
    const { assignment, kafka, telemetry, notify } = this.#options;
    switch (event.kind) {
      case "assign":
        return this.#onAssign(event.partitions);
      case "revoke":
        return this.#onRevoke(event.partitions, event.lost);
      case "out_of_range": {
        const owned = assignment.get(kafka.slot(event));
        if (owned !== undefined && assignment.markOutOfRange(owned)) kafka.stop([owned]);
        return notify();
      }
      case "error":
        telemetry.kafkaError(event.name, event.message);
        if (event.fatal) throw new FatalError(`Kafka: ${event.message}`);
        if (!this.hasFetched && AUTHORIZATION_FAILED.has(event.code)) {
          const { topics, consumerGroup } = this.#options.config;
          throw new FatalError(
            `Kafka does not let this user read ${topics.join(", ")} as group "${consumerGroup}": ${event.message}`,
          );
        }
        return undefined;
      case "committed":
        if (event.error !== undefined) telemetry.offsetCommitFailed(event.error);
        return undefined;
      case "log":
        return telemetry.kafkaLog(event.level, event.facility, event.message);
    }
  }

  /** Acknowledged at once; the database tells later where each partition starts. */
  #onAssign(partitions: readonly TopicPartition[]): void {
    const { assignment, kafka, telemetry, notify } = this.#options;
    this.hasJoined = true;
    kafka.acknowledgeAssign([]);
    for (const partition of partitions) assignment.assign(kafka.slot(partition), partition);
    telemetry.assigned(partitions, assignment.size);
    notify();
  }

  #onRevoke(partitions: readonly TopicPartition[], lost: boolean): void {
    const { assignment, telemetry, isCommitting, onFault } = this.#options;
    telemetry.revoked(partitions, assignment.size - partitions.length, lost);
    if (lost) {
      onFault(new ResyncNeeded("lost", "the group has given our partitions to others"));
      this.#release(partitions);
    } else if (!isCommitting()) {
      this.#release(partitions);
    } else {
      // The next owner should find our last batch stored. If that takes too long, the fence keeps the batch out.
      const timer = setTimeout(() => this.releasePending(), REVOKE_DRAIN_MS);
      this.#pendingRevoke = { partitions, timer };
    }
  }

  /** Releases the partitions of a revocation that waits for the transaction in flight. */
  releasePending(): void {
    const pending = this.#pendingRevoke;
    if (pending === undefined) return;
    this.#pendingRevoke = undefined;
    clearTimeout(pending.timer);
    this.#release(pending.partitions);
    this.#options.onReleased();
  }

  /** Gives partitions back. Their records that are in no transaction are dropped. */
  #release(partitions: readonly TopicPartition[]): void {
    const { assignment, kafka, telemetry, drop } = this.#options;
    const slots = partitions.map((partition) => kafka.slot(partition));
    for (const slot of slots) {
      assignment.revoke(slot);
      const { topic, partition } = kafka.topicPartition(slot);
      telemetry.lag(topic, partition, undefined);
    }
    drop(slots);
    kafka.acknowledgeRevoke();
  }
}
