// Moves records from librdkafka into the batch under construction, and hands over full or due batches.

import type { ConsumerEvent } from "../../shared/kafka/consumer-event.ts";
import { Batch, type BatchClock } from "../../shared/pipeline/batch.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import type { Assignment } from "./assignment.ts";
import type { DeadLetterLimit } from "./dead-letter-limit.ts";
import type { KafkaPort, WorkerClock } from "./ports.ts";

/** A batch is handed over this long after its first record, however small it is. */
const LINGER_MS = 10;
/** A smaller batch grows back after this many were committed. */
const COMMITS_UNTIL_GROWTH = 20;

type IntakeKafka = Pick<KafkaPort, "poll" | "topicPartition" | "stop">;

export interface IntakeOptions {
  readonly batchSize: number;
  /** The clock and limit by which a batch that opens now validates its records. */
  readonly batchClock: () => BatchClock;
  readonly onFetched: (topic: string, records: number) => void;
  readonly deadLetterLimit: Pick<DeadLetterLimit, "isSet" | "count">;
}

/**
 * The two batches of a worker: one is built while the other is in a transaction.
 *
 * `reading`: records go into the batch. `unusable`: the batch waits for the resync that drops it. `stopped`: the worker
 * drains; nothing more is read. Events are taken in any case.
 */
export class Intake {
  readonly #kafka: IntakeKafka;
  readonly #assignment: Assignment;
  readonly #clock: WorkerClock;
  readonly #options: IntakeOptions;
  #building: Batch;
  #spare: Batch | undefined;
  #mode: "reading" | "unusable" | "stopped" = "reading";
  #limit: number;
  #commitsAtLimit = 0;
  /** True once a record was read: from then on a refusal by Kafka may be a change in progress. */
  hasFetched = false;

  constructor(kafka: IntakeKafka, assignment: Assignment, clock: WorkerClock, options: IntakeOptions) {
    this.#kafka = kafka;
    this.#assignment = assignment;
    this.#clock = clock;
    this.#options = options;
    this.#limit = options.batchSize;
    this.#building = new Batch(options.batchSize);
    this.#spare = new Batch(options.batchSize);
  }

  get isEmpty(): boolean {
    return this.#building.isEmpty;
  }

  /** True where records of the partition wait in the batch. */
  holds(slot: number): boolean {
    return this.#building.spans.has(slot);
  }

  /** When the batch is due, ms of the monotonic clock; undefined while it is empty. */
  dueAtMs(): number | undefined {
    if (this.#building.isEmpty) return undefined;
    if (this.#building.block.full || this.#mode === "stopped") return -Infinity;
    return this.#building.openedAtMs + LINGER_MS;
  }

  /**
   * Takes records until there are none, or the batch is full, or an event comes. Answers about logs are taken in
   * any case. To be called again until it returns undefined.
   * @throws OffsetRegression, KafkaError: the batch is unusable
   */
  take(): ConsumerEvent | undefined {
    for (;;) {
      const block = this.#mode === "reading" ? this.#building.block : undefined;
      const event = this.#kafka.poll(block);
      const count = block === undefined ? 0 : this.#readBefore(event);
      if (event !== undefined || count === 0 || block?.full) return event;
    }
  }

  /** An event must be answered, so it goes before an error: the records behind which it came fail again next time. */
  #readBefore(event: ConsumerEvent | undefined): number {
    try {
      return this.#read();
    } catch (error) {
      if (event === undefined) {
        // The resync waits for the transaction in flight. The events do not.
        this.#mode = "unusable";
        throw error;
      }
      return 0;
    }
  }

  /** Decodes what was added to the batch. @returns how many records that were */
  #read(): number {
    const batch = this.#building;
    const first = batch.records;
    const added = batch.block.count - first;
    if (added === 0) return 0;
    this.hasFetched = true;
    this.#countFetched(batch.block, first);
    if (batch.isEmpty) batch.open(this.#options.batchClock(), this.#clock.monotonicMs());
    const { count } = batch.rejected;
    batch.read((slot) => {
      const owned = this.#assignment.get(slot);
      if (owned?.state.kind !== "fetching") return undefined;
      const { topic, partition, state } = owned;
      return { topic, partition, topicId: state.topicId, reading: state.reading, from: state.next };
    });
    const { deadLetterLimit } = this.#options;
    if (deadLetterLimit.isSet) batch.drop(deadLetterLimit.count(batch.rejected.placesAfter(count)));
    return added;
  }

  #countFetched({ slot, offset, count }: RecordBlock, first: number): void {
    // Records come in runs of one partition.
    for (let record = first; record < count; ) {
      const start = record;
      while (record < count && slot[record] === slot[start]) record++;
      this.#options.onFetched(this.#kafka.topicPartition(slot[start]!).topic, record - start);
      this.#assignment.markRead(slot[start]!, offset[record - 1]!);
    }
  }

  /** Reads no more; what is in the batch is still to be handed over. */
  stop(): void {
    if (this.#mode === "stopped") return;
    this.#mode = "stopped";
    this.#kafka.stop(this.#assignment.all());
  }

  /**
   * Returns the batch for its transaction, and builds the other one from now on.
   * @returns undefined when it held only records of partitions that are no longer read
   * @throws InvariantViolated where it does not continue the batch before
   */
  handOver(): Batch | undefined {
    const batch = this.#building;
    if (batch.spans.size === 0) {
      batch.clear();
      return undefined;
    }
    if (this.#spare === undefined) throw new Error("a batch is handed over before the last one was released");
    for (const [slot, span] of batch.spans) this.#assignment.markInFlight(slot, span);
    this.#building = this.#spare;
    this.#spare = undefined;
    return batch;
  }

  /** Takes back a batch that was handed over. */
  release(batch: Batch): void {
    batch.clear();
    batch.block.limit = this.#limit;
    this.#spare = batch;
  }

  /**
   * A batch of so many records was not committed in time: the next ones have half of them, until several were
   * committed. @returns the new limit
   */
  shrink(records: number): number {
    this.#commitsAtLimit = 0;
    return this.#setLimit(Math.max(1, Math.floor(records / 2)));
  }

  /** A batch was committed. */
  noteCommit(): void {
    if (this.#limit === this.#options.batchSize || ++this.#commitsAtLimit < COMMITS_UNTIL_GROWTH) return;
    this.#commitsAtLimit = 0;
    this.#setLimit(Math.min(this.#options.batchSize, this.#limit * 2));
  }

  #setLimit(records: number): number {
    this.#limit = records;
    for (const batch of [this.#building, this.#spare]) if (batch) batch.block.limit = records;
    return records;
  }

  /** Drops the records of partitions that other workers read now. */
  drop(slots: Iterable<number>): void {
    this.#building.drop(slots);
  }

  /** Drops everything, and stops fetching until partitions are started again. */
  reset(): void {
    this.#building.clear();
    if (this.#mode === "unusable") this.#mode = "reading";
    this.#kafka.stop(this.#assignment.all());
  }
}
