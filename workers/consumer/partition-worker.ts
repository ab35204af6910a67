// Stores the records of a worker's partitions in PostgreSQL, batch by batch.
//
// Two activities take turns in one thread. `#pump` moves records from librdkafka into the batch under construction as
// they arrive, and handles the events of the group. `run` does everything that touches the database, one step at a
// time: connect, read offsets, commit batches. So at most one transaction is open, and the next batch is built
// meanwhile.
//
// Every failure has one answer, the resync: discard the batch, stop fetching, forget what the database holds, wait a
// little, read the stored offsets, and fetch from there.

import { Assignment } from "./assignment.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { consumerSettings } from "../../shared/kafka/settings.ts";
import { Batch } from "../../shared/pipeline/batch.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { Backoff } from "../../shared/runtime/backoff.ts";
import type { Config } from "../../shared/config/config.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { Notifier } from "../../shared/runtime/notifier.ts";
import type { Session } from "../../shared/store/session.ts";
import type { Store } from "../../shared/store/store.ts";
import type { ResyncCause, WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { WorkerStatus } from "./thread-messages.ts";
import { classifyFailure, ResyncNeeded } from "./failure.ts";
import { KafkaEvents } from "./kafka-events.ts";
import { PartitionOffsets } from "./partition-offsets.ts";
import { WorkerDatabase } from "./worker-database.ts";

/** A batch is committed this long after its first record, regardless of its size. */
const BATCH_LINGER_MS = 10;
/** librdkafka's wake-ups are edge-triggered and can be missed; this timer is the fallback. */
const PUMP_INTERVAL_MS = 250;
/** Fetching stops after this long in one transaction, so that events of the group do not queue behind records. */
const STALLED_AFTER_MS = 2000;
const CLOSE_DEADLINE_MS = 5000;

export class PartitionWorker {
  readonly #config: Config;
  readonly #telemetry: WorkerTelemetry;
  readonly #kafka: KafkaConsumer;
  readonly #onCommit: () => void;
  readonly #assignment = new Assignment();
  readonly #offsets: PartitionOffsets;
  readonly #events: KafkaEvents;
  readonly #database: WorkerDatabase;
  readonly #signal = new Notifier();
  readonly #backoff = new Backoff(100, 5000);
  readonly #spareBlock = new RecordBlock(16, 1024);
  #building: Batch;
  #empty: Batch;
  /** When the transaction in flight started, ms of the monotonic clock. */
  #inFlightSinceMs: number | undefined;
  /** True from the start of a transaction until its COMMIT is answered. */
  #isUncommitted = false;
  /** True while fetching is stopped because a transaction takes too long. */
  #isStalled = false;
  /** An error outside of `run`, which handles it. */
  #fault: Error | undefined;
  #isDraining = false;
  #paused: { readonly cause: ResyncCause; readonly message: string; readonly sinceMs: number } | undefined;

  private constructor(
    config: Config,
    telemetry: WorkerTelemetry,
    kafka: KafkaConsumer,
    onCommit: () => void,
  ) {
    this.#onCommit = onCommit;
    this.#config = config;
    this.#telemetry = telemetry;
    this.#kafka = kafka;
    this.#offsets = new PartitionOffsets(config.kafka, kafka, this.#assignment, telemetry);
    this.#database = new WorkerDatabase(config, telemetry, () =>
      this.#onFault(new ResyncNeeded("connection", "PostgreSQL has closed the connection")),
    );
    this.#events = new KafkaEvents({
      config: config.kafka,
      kafka,
      assignment: this.#assignment,
      telemetry,
      isCommitting: () => this.#inFlightSinceMs !== undefined,
      notify: () => this.#signal.notify(),
      onFault: (error) => this.#onFault(error),
      drop: (slots) => this.#building.drop(slots),
      onReleased: () => this.#pump(),
    });
    this.#building = new Batch(config.consumer.batchSize);
    this.#empty = new Batch(config.consumer.batchSize);
  }

  /**
   * Joins the group.
   * @param onCommit is called after each answered COMMIT, when the telemetry is up to date
   * @throws ConfigurationError for Kafka properties that librdkafka refuses
   */
  static async open(
    config: Config,
    telemetry: WorkerTelemetry,
    onCommit: () => void,
  ): Promise<PartitionWorker> {
    let worker: PartitionWorker | undefined;
    const kafka = await KafkaConsumer.open({
      settings: consumerSettings(config.kafka),
      topics: config.kafka.topics,
      onWake: () => {
        if (worker !== undefined) worker.#pump();
      },
    });
    worker = new PartitionWorker(config, telemetry, kafka, onCommit);
    return worker;
  }

  /**
   * Works until it is drained.
   * @throws FatalError for what no retry solves
   */
  async run(): Promise<void> {
    const timer = setInterval(() => this.#onTick(), PUMP_INTERVAL_MS);
    this.#offsets.startWatching((error) => this.#onFault(error));
    try {
      while (!(this.#isDraining && this.#building.isEmpty)) {
        try {
          await this.#step();
        } catch (error) {
          await this.#resync(error);
        }
      }
    } finally {
      clearInterval(timer);
      this.#offsets.stopWatching();
      this.#telemetry.flushLog();
      await this.#kafka.close(CLOSE_DEADLINE_MS);
      await this.#database.close();
    }
  }

  /** Commits what was read, then ends `run`. Records that librdkafka has buffered stay in Kafka. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#offsets.stopWatching();
    this.#kafka.stop(this.#assignment.all());
    this.#signal.notify();
  }

  /** The state of this worker, for /readyz, the alerts and the page. */
  status(): WorkerStatus {
    return {
      hasJoined: this.#events.hasJoined,
      hasDatabase: this.#database.isConnected,
      databaseUnansweredSeconds: Math.floor(this.#inFlightMs() / 1000),
      kafkaFault: this.#offsets.fault,
      pausedBecause: this.#paused?.message,
      partitions: this.#offsets.status(),
    };
  }

  /** One step of `run`: the database's side. */
  async #step(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    const { connection } = this.#database;
    if (connection === undefined) return await this.#database.connect();
    const { session, store } = connection;
    if (session.isLost) throw new ResyncNeeded("connection", "PostgreSQL has closed the connection");
    if (!this.#isDraining) {
      if (this.#assignment.in("awaiting_offset").length > 0) {
        return await this.#startFetching(session);
      }
      // The records before the end of the log are committed first, so that the stored offset is exact.
      if (this.#building.isEmpty && this.#assignment.in("out_of_range").length > 0) {
        return await this.#offsets.settleOutOfRange(session);
      }
      // A pause ends when partitions are fetched again; without partitions it is over.
      if (this.#assignment.size === 0) this.#resume();
    }
    const dueInMs = this.#dueInMs();
    if (dueInMs <= 0) await this.#commit(store);
    else await this.#signal.wait(dueInMs);
  }

  /** Ms until the batch is due; 0 or less: it is due now. */
  #dueInMs(): number {
    if (this.#building.isEmpty) return PUMP_INTERVAL_MS;
    if (this.#building.block.full || this.#isDraining) return 0;
    return this.#building.openedAtMs + BATCH_LINGER_MS - performance.now();
  }

  async #startFetching(session: Session): Promise<void> {
    if (!(await this.#offsets.startFetchingAt(session))) {
      // The topic or the log of some partitions is not known yet. The others do not wait for them.
      await this.#signal.wait(PUMP_INTERVAL_MS);
      return;
    }
    // With their offsets the partitions flow again, unless the batches themselves are what fails.
    if (this.#paused?.cause !== "schema" && this.#paused?.cause !== "content") this.#resume();
  }

  async #commit(store: Store): Promise<void> {
    const batch = this.#building;
    if (batch.spans.size === 0) return batch.clear();
    this.#building = this.#empty;
    for (const [slot, { to }] of batch.spans) this.#assignment.markInFlight(slot, to);
    this.#inFlightSinceMs = performance.now();
    this.#isUncommitted = true;
    try {
      const report = await store.commit(batch);
      this.#isUncommitted = false;
      for (const [slot, { to }] of batch.spans) this.#assignment.markCommitted(slot, to);
      this.#telemetry.batchCommitted(batch, report);
      this.#onCommit();
      this.#commitToKafka(batch);
      this.#backoff.reset();
      this.#resume();
    } finally {
      this.#inFlightSinceMs = undefined;
      batch.clear();
      this.#empty = batch;
      this.#events.releasePending();
    }
    this.#endStall();
    this.#pump();
  }

  /** Commits Kafka's own offsets, which only serve lag tools. */
  #commitToKafka(batch: Batch): void {
    const owned = [...batch.spans].filter(([slot]) => this.#assignment.get(slot) !== undefined);
    this.#kafka.commit(owned.map(([, { topic, partition, to }]) => ({ topic, partition, offset: to })));
  }

  /** The one answer to every failure. @throws FatalError for what no retry solves */
  async #resync(error: unknown): Promise<void> {
    const failure = classifyFailure(error);
    if (failure.kind === "fatal") {
      throw error instanceof FatalError ? error : new FatalError(failure.message, { cause: error });
    }
    const { cause, message } = failure;
    const isDropping = this.#isUncommitted || !this.#building.isEmpty;
    this.#isUncommitted = false;
    this.#fault = undefined;
    this.#building.clear();
    this.#kafka.stop(this.#assignment.all());
    this.#assignment.resync();
    this.#isStalled = false;
    if (this.#isDraining) {
      // No data is lost, but the caller must learn that the drain did not complete.
      if (isDropping && cause === "connection") {
        throw new FatalError(`what was read could not be committed, and is read again: ${message}`);
      }
      return;
    }
    this.#paused = { cause, message, sinceMs: this.#paused?.sinceMs ?? performance.now() };
    await this.#database.renew(cause);
    const waitMs = this.#backoff.next();
    this.#telemetry.resynced(cause, message, this.#backoff.attempts, waitMs);
    if (waitMs > 0) await Bun.sleep(waitMs);
  }

  #resume(): void {
    if (this.#paused === undefined) return;
    this.#telemetry.flowResumed(performance.now() - this.#paused.sinceMs);
    this.#paused = undefined;
  }

  #onFault(error: Error): void {
    this.#fault ??= error;
    this.#signal.notify();
  }

  #onTick(): void {
    if (this.#paused !== undefined) this.#telemetry.paused(PUMP_INTERVAL_MS / 1000);
    if (this.#inFlightMs() > STALLED_AFTER_MS && this.#building.block.full && !this.#isStalled) {
      this.#isStalled = true;
      this.#kafka.stop(this.#assignment.all());
    }
    this.#pump();
  }

  #inFlightMs(): number {
    return this.#inFlightSinceMs === undefined ? 0 : performance.now() - this.#inFlightSinceMs;
  }

  /** Fetching continues at the end of the batch under construction. */
  #endStall(): void {
    if (!this.#isStalled) return;
    this.#isStalled = false;
    this.#kafka.fetch(
      this.#assignment.in("fetching").flatMap(({ slot, topic, partition, state }) => {
        if (state.kind !== "fetching") return [];
        return [{ topic, partition, offset: this.#building.spans.get(slot)?.to ?? state.next }];
      }),
    );
  }

  /** Takes records and events from librdkafka until it has none left or the batch is full. */
  #pump(): void {
    try {
      for (;;) {
        // Records of stopped partitions, should any arrive, are discarded here and fetched again later.
        const isReading = !this.#isStalled && !this.#isDraining;
        if (isReading && this.#building.block.full) break;
        const block = isReading ? this.#building.block : this.#spareBlock;
        const event = this.#kafka.poll(block);
        const count = isReading ? this.#readBlock() : block.count;
        this.#spareBlock.clear();
        if (event !== undefined) this.#events.handle(event);
        else if (count === 0) break;
      }
    } catch (error) {
      this.#fault ??= error instanceof Error ? error : new Error(String(error));
      // The batch may be incomplete.
      this.#building.clear();
    }
    if (!this.#building.isEmpty || this.#fault !== undefined) this.#signal.notify();
  }

  /** Decodes the records that were added to the batch. @returns their number */
  #readBlock(): number {
    const batch = this.#building;
    const first = batch.records;
    const added = batch.block.count - first;
    if (added === 0) return 0;
    this.#events.hasFetched = true;
    this.#countFetched(batch.block, first);
    if (batch.isEmpty) {
      batch.open(
        {
          processedAtMs: this.#database.now(),
          maxFutureSkewMs: this.#config.consumer.maxFutureSkewSeconds * 1000,
        },
        performance.now(),
      );
    }
    batch.read((slot) => {
      const owned = this.#assignment.get(slot);
      if (owned?.state.kind !== "fetching") return undefined;
      const { topic, partition, state } = owned;
      return { topic, partition, topicId: state.topicId, from: state.next };
    });
    return added;
  }

  /** Counts the records in runs of one partition, as they arrive. */
  #countFetched({ slot, count }: RecordBlock, first: number): void {
    for (let record = first; record < count; ) {
      const start = record;
      while (record < count && slot[record] === slot[start]) record++;
      this.#telemetry.recordsFetched(this.#kafka.topicPartition(slot[start]!).topic, record - start);
    }
  }
}
