// A worker thread: its share of the group's partitions in, transactions in PostgreSQL out.
//
// Two things run here, taking turns in one thread. `#pump` moves records from librdkafka into the batch that is
// being built, whenever there are any, and answers the group. `run` does everything that touches the database,
// one thing at a time: connect, read offsets, commit batches. So there is at most one transaction, and the next
// batch is built meanwhile.
//
// Whatever goes wrong has one answer, the resync: throw away what was built, stop fetching, forget what the
// database was believed to hold, wait a little, read the stored offsets, fetch from there.

import type { TopicPartition } from "../../shared/event.ts";
import { Assignment } from "./assignment.ts";
import { type ConsumerEvent, KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { consumerSettings } from "../../shared/kafka/settings.ts";
import { Batch } from "../../shared/pipeline/batch.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { Backoff } from "../../shared/runtime/backoff.ts";
import type { Config } from "../../shared/config/config.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { Notifier } from "../../shared/runtime/notifier.ts";
import { endStuckPeers } from "../../shared/store/database-owner.ts";
import { Session } from "../../shared/store/session.ts";
import { Store } from "../../shared/store/store.ts";
import type { ResyncCause, WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import type { WorkerStatus } from "./thread-messages.ts";
import { classifyFailure, ResyncNeeded } from "./failure.ts";
import { LogPositions } from "./partition-offsets.ts";

/** A batch is committed this long after its first record, however small it is. */
const BATCH_LINGER_MS = 10;
/** librdkafka's wake-up is edge-triggered; this is the net below it. */
const PUMP_INTERVAL_MS = 250;
/** How long a revocation waits for the transaction in flight. */
const REVOKE_DRAIN_MS = 5000;
/** After this long in one transaction fetching stops, so that the group's events are not stuck behind records. */
const STALLED_AFTER_MS = 2000;
const WATCH_INTERVAL_MS = 2000;
/** A peer that has sat in a transaction this long, waiting for its own client, is ended when it blocks us. */
const STUCK_PEER_SECONDS = 5;
const CLOSE_DEADLINE_MS = 5000;
/** Of the topic and of the group. Before anything was read no waiting helps; later it may be a change in progress. */
const AUTHORIZATION_FAILED: ReadonlySet<number> = new Set([29, 30]);

/** A session and what was believed through it; both go together. */
interface Connection {
  readonly session: Session;
  readonly store: Store;
}

export class PartitionWorker {
  readonly #config: Config;
  readonly #telemetry: WorkerTelemetry;
  readonly #kafka: KafkaConsumer;
  readonly #onCommitted: () => void;
  readonly #assignment = new Assignment();
  readonly #positions: LogPositions;
  readonly #signal = new Notifier();
  readonly #backoff = new Backoff(100, 5000);
  readonly #spareBlock = new RecordBlock(16, 1024);
  #connection: Connection | undefined;
  #building: Batch;
  #empty: Batch;
  /** When the transaction in flight began, ms of the monotonic clock. */
  #inFlightSinceMs: number | undefined;
  /** True from the hand-over of a batch until its COMMIT is answered. */
  #isUncommitted = false;
  /** True while fetching is stopped because a transaction takes long. */
  #isStalled = false;
  /** A revocation that waits for the transaction in flight. */
  #pendingRevoke: { readonly partitions: readonly TopicPartition[]; readonly timer: Timer } | undefined;
  /** What went wrong outside of `run`, for it to take care of. */
  #fault: Error | undefined;
  #hasJoined = false;
  #hasFetched = false;
  #isDraining = false;
  #pausedSinceMs: number | undefined;
  #paused: { readonly cause: ResyncCause; readonly message: string } | undefined;
  #timers: Timer[] = [];
  #isWatching = false;
  /** Why the last look at the logs failed. */
  #kafkaFault: string | undefined;

  private constructor(
    config: Config,
    telemetry: WorkerTelemetry,
    kafka: KafkaConsumer,
    onCommitted: () => void,
  ) {
    this.#onCommitted = onCommitted;
    this.#config = config;
    this.#telemetry = telemetry;
    this.#kafka = kafka;
    this.#positions = new LogPositions(config.kafka, kafka, this.#assignment, telemetry);
    this.#building = new Batch(config.consumer.batchSize);
    this.#empty = new Batch(config.consumer.batchSize);
  }

  /**
   * Joins the group.
   * @param onCommitted called after each answered COMMIT, when the telemetry has moved
   * @throws ConfigurationError for Kafka properties that librdkafka refuses
   */
  static async open(
    config: Config,
    telemetry: WorkerTelemetry,
    onCommitted: () => void,
  ): Promise<PartitionWorker> {
    let worker: PartitionWorker | undefined;
    const kafka = await KafkaConsumer.open({
      settings: consumerSettings(config.kafka),
      topics: config.kafka.topics,
      onWake: () => {
        if (worker !== undefined) worker.#pump();
      },
    });
    worker = new PartitionWorker(config, telemetry, kafka, onCommitted);
    return worker;
  }

  /**
   * Works until it is drained.
   * @throws FatalError for what no retry mends
   */
  async run(): Promise<void> {
    this.#timers = [
      setInterval(() => this.#onTick(), PUMP_INTERVAL_MS),
      setInterval(() => void this.#watch(), WATCH_INTERVAL_MS),
    ];
    try {
      while (!(this.#isDraining && this.#building.isEmpty)) {
        try {
          await this.#step();
        } catch (error) {
          await this.#resync(error);
        }
      }
    } finally {
      for (const timer of this.#timers) clearInterval(timer);
      this.#telemetry.flushLog();
      await this.#kafka.close(CLOSE_DEADLINE_MS);
      await this.#connection?.session.close();
    }
  }

  /** Commits what was read and then ends `run`. What librdkafka has buffered stays in Kafka. */
  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#kafka.stop(this.#assignment.all());
    this.#signal.notify();
  }

  /** How this worker is, for /readyz and for people. */
  status(): WorkerStatus {
    return {
      hasJoined: this.#hasJoined,
      hasDatabase: this.#connection !== undefined && !this.#connection.session.isLost,
      databaseUnansweredSeconds: Math.floor(this.#inFlightMs() / 1000),
      kafkaFault: this.#kafkaFault,
      pausedBecause: this.#paused?.message,
      partitions: this.#assignment.all().map((owned) => ({
        topic: owned.topic,
        partition: owned.partition,
        state: owned.state.kind,
        storedOffset: owned.lastStored,
        endOffset: owned.end,
        lag: this.#positions.lagOf(owned),
      })),
    };
  }

  // ------------------------------------------------------------------ the database's side, one step at a time

  async #step(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#connection === undefined) {
      this.#connection = await this.#connect();
      return;
    }
    const { session } = this.#connection;
    if (session.isLost) throw new ResyncNeeded("connection", "PostgreSQL has closed the connection");
    if (!this.#isDraining) {
      if (this.#assignment.in("awaiting_offset").length > 0) {
        await this.#place(session);
        return;
      }
      // What was read before the log's bounds were hit is committed first: the stored offset is exact then.
      if (this.#building.isEmpty && this.#assignment.in("out_of_range").length > 0) {
        await this.#positions.settleOutOfRange(session);
        return;
      }
    }
    const dueInMs = this.#dueInMs();
    if (dueInMs <= 0) await this.#commit(this.#connection);
    else await this.#signal.wait(dueInMs);
  }

  async #connect(): Promise<Connection> {
    const session = await Session.open(this.#config.database, {
      role: "worker",
      consumerGroup: this.#config.kafka.consumerGroup,
      onLost: () => {
        this.#telemetry.databaseLost();
        this.#fault ??= new ResyncNeeded("connection", "PostgreSQL has closed the connection");
        this.#signal.notify();
      },
    });
    this.#telemetry.databaseConnected(session.backendPid);
    return { session, store: this.#makeStore(session) };
  }

  #makeStore(session: Session): Store {
    const { saveRawEvents, copyRawEvents, hourGraceMinutes } = this.#config.consumer;
    return new Store(session, { saveRawEvents, copyRawEvents, hourGraceMs: hourGraceMinutes * 60_000 });
  }

  /** Ms until the batch is due; 0 or less: now. */
  #dueInMs(): number {
    if (this.#building.isEmpty) return PUMP_INTERVAL_MS;
    if (this.#building.block.full || this.#isDraining) return 0;
    return this.#building.openedAtMs + BATCH_LINGER_MS - performance.now();
  }

  async #place(session: Session): Promise<void> {
    if (!(await this.#positions.startFetchingAt(session))) {
      // Some have no beginning to be had yet; the others need not wait for them.
      await this.#signal.wait(PUMP_INTERVAL_MS);
      return;
    }
    // With offsets everything flows again, unless it is the batches themselves that fail.
    if (this.#paused?.cause !== "schema" && this.#paused?.cause !== "content") this.#resume();
  }

  async #commit({ store }: Connection): Promise<void> {
    const batch = this.#building;
    if (batch.spans.size === 0) return batch.clear();
    this.#building = this.#empty;
    for (const [slot, { to }] of batch.spans) this.#assignment.markInFlight(slot, to);
    this.#inFlightSinceMs = performance.now();
    this.#isUncommitted = true;
    try {
      const report = await store.commit(batch);
      this.#isUncommitted = false;
      for (const [slot, { to }] of batch.spans) this.#assignment.committed(slot, to);
      this.#telemetry.batchCommitted(batch, report);
      this.#onCommitted();
      this.#commitToKafka(batch);
      this.#backoff.reset();
      this.#resume();
    } finally {
      this.#inFlightSinceMs = undefined;
      batch.clear();
      this.#empty = batch;
      this.#letGoPending();
    }
    this.#endStall();
    this.#pump();
  }

  /** Kafka's own offsets, for lag tools; they decide nothing. */
  #commitToKafka(batch: Batch): void {
    const owned = [...batch.spans].filter(([slot]) => this.#assignment.get(slot) !== undefined);
    this.#kafka.commit(owned.map(([, { topic, partition, to }]) => ({ topic, partition, offset: to })));
  }

  /** The one answer to everything that goes wrong. @throws FatalError for what no retry mends */
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
      // Nothing is lost, but whoever asked for a drain shall know that this was none.
      if (isDropping && cause === "connection") {
        throw new FatalError(`what was read could not be committed, and is read again: ${message}`);
      }
      return;
    }
    this.#pausedSinceMs ??= performance.now();
    this.#paused = { cause, message };
    await this.#renewConnection(cause);
    const waitMs = this.#backoff.next();
    this.#telemetry.resynced(cause, message, this.#backoff.attempts, waitMs);
    if (waitMs > 0) await Bun.sleep(waitMs);
  }

  /** After a resync nothing of the old memory is left; the session stays only where it is surely sound. */
  async #renewConnection(cause: ResyncCause): Promise<void> {
    const session = this.#connection?.session;
    if (session === undefined) return;
    if (cause === "connection" || session.isLost) {
      session.destroy();
      this.#telemetry.databaseLost();
      this.#connection = undefined;
      return;
    }
    this.#connection = { session, store: this.#makeStore(session) };
    if (cause === "blocked") {
      const ended = await session.run((sql) => endStuckPeers(sql, STUCK_PEER_SECONDS)).catch(() => []);
      if (ended.length > 0) this.#telemetry.stuckPeersEnded(ended);
    }
  }

  #resume(): void {
    if (this.#pausedSinceMs === undefined) return;
    this.#telemetry.flowResumed(performance.now() - this.#pausedSinceMs);
    this.#pausedSinceMs = undefined;
    this.#paused = undefined;
  }

  // ------------------------------------------------------------------------------------------ Kafka's side

  #onTick(): void {
    if (this.#pausedSinceMs !== undefined) this.#telemetry.paused(PUMP_INTERVAL_MS / 1000);
    if (this.#inFlightMs() > STALLED_AFTER_MS && this.#building.block.full && !this.#isStalled) {
      this.#isStalled = true;
      this.#kafka.stop(this.#assignment.all());
    }
    this.#pump();
  }

  #inFlightMs(): number {
    return this.#inFlightSinceMs === undefined ? 0 : performance.now() - this.#inFlightSinceMs;
  }

  /** LibrdkafkaAssignment goes on where the batch that is being built ends. */
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

  /** Takes what librdkafka has, until there is nothing or the batch is full. */
  #pump(): void {
    try {
      for (;;) {
        // Of stopped partitions nothing comes; whatever came all the same is fetched again.
        const isReading = !this.#isStalled && !this.#isDraining;
        if (isReading && this.#building.block.full) break;
        const block = isReading ? this.#building.block : this.#spareBlock;
        const event = this.#kafka.poll(block);
        const count = isReading ? this.#readBlock() : block.count;
        this.#spareBlock.clear();
        if (event !== undefined) this.#onKafkaEvent(event);
        else if (count === 0) break;
      }
    } catch (error) {
      this.#fault ??= error instanceof Error ? error : new Error(String(error));
      // Half a batch is none.
      this.#building.clear();
    }
    if (!this.#building.isEmpty || this.#fault !== undefined) this.#signal.notify();
  }

  /** Decodes what was added to the batch that is being built. @returns how many records that were */
  #readBlock(): number {
    const batch = this.#building;
    const first = batch.records;
    const added = batch.block.count - first;
    if (added === 0) return 0;
    this.#hasFetched = true;
    this.#countFetched(batch.block, first);
    if (batch.isEmpty) {
      batch.open(
        {
          processedAtMs: this.#connection?.session.now() ?? Date.now(),
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

  #countFetched({ slot, count }: RecordBlock, first: number): void {
    // Records come in runs of one partition.
    for (let record = first; record < count; ) {
      const start = record;
      while (record < count && slot[record] === slot[start]) record++;
      this.#telemetry.recordsFetched(this.#kafka.topicPartition(slot[start]!).topic, record - start);
    }
  }

  #onKafkaEvent(event: ConsumerEvent): void {
    switch (event.kind) {
      case "assign":
        return this.#onAssign(event.partitions);
      case "revoke":
        return this.#onRevoke(event.partitions, event.lost);
      case "out_of_range": {
        const owned = this.#assignment.get(this.#kafka.slot(event));
        if (owned !== undefined && this.#assignment.markOutOfRange(owned)) this.#kafka.stop([owned]);
        return this.#signal.notify();
      }
      case "error":
        this.#telemetry.kafkaError(event.name, event.message);
        if (event.fatal) throw new FatalError(`Kafka: ${event.message}`);
        if (!this.#hasFetched && AUTHORIZATION_FAILED.has(event.code)) {
          throw new FatalError(
            `Kafka does not let this user read ${this.#config.kafka.topics.join(", ")} as group "${this.#config.kafka.consumerGroup}": ${event.message}`,
          );
        }
        return undefined;
      case "committed":
        if (event.error !== undefined) this.#telemetry.offsetCommitFailed(event.error);
        return undefined;
      case "log":
        return this.#telemetry.kafkaLog(event.level, event.facility, event.message);
    }
  }

  /** Answered at once; where each partition begins is read from the database afterwards. */
  #onAssign(partitions: readonly TopicPartition[]): void {
    this.#hasJoined = true;
    this.#kafka.acknowledgeAssign([]);
    for (const partition of partitions) this.#assignment.assign(this.#kafka.slot(partition), partition);
    this.#telemetry.assigned(partitions, this.#assignment.size);
    this.#signal.notify();
  }

  #onRevoke(partitions: readonly TopicPartition[], lost: boolean): void {
    this.#telemetry.revoked(partitions, this.#assignment.size - partitions.length, lost);
    if (lost) {
      this.#fault ??= new ResyncNeeded("lost", "the group has given our partitions to others");
      this.#letGo(partitions);
    } else if (this.#inFlightSinceMs === undefined) {
      this.#letGo(partitions);
    } else {
      // The next owner should find our last batch stored. If it takes too long, the fence keeps it out.
      const timer = setTimeout(() => this.#letGoPending(), REVOKE_DRAIN_MS);
      this.#pendingRevoke = { partitions, timer };
    }
  }

  #letGoPending(): void {
    const pending = this.#pendingRevoke;
    if (pending === undefined) return;
    this.#pendingRevoke = undefined;
    clearTimeout(pending.timer);
    this.#letGo(pending.partitions);
    this.#pump();
  }

  /** Gives partitions back. What was read of them and is in no transaction is dropped. */
  #letGo(partitions: readonly TopicPartition[]): void {
    const slots = partitions.map((partition) => this.#kafka.slot(partition));
    for (const slot of slots) {
      this.#assignment.revoke(slot);
      const { topic, partition } = this.#kafka.topicPartition(slot);
      this.#telemetry.lag(topic, partition, undefined);
    }
    this.#building.drop(slots);
    this.#kafka.acknowledgeRevoke();
  }

  /** Every few seconds: how far the logs reach, and whether the topics are still the same. */
  async #watch(): Promise<void> {
    if (this.#isWatching || this.#isDraining) return;
    this.#isWatching = true;
    try {
      await this.#positions.look();
      await this.#positions.assertSameTopics();
      this.#kafkaFault = undefined;
    } catch (error) {
      if (error instanceof ResyncNeeded) {
        this.#fault ??= error;
        this.#signal.notify();
      } else if (!this.#isDraining) {
        this.#kafkaFault = classifyFailure(error).message;
        this.#telemetry.kafkaError("watch", this.#kafkaFault);
      }
    } finally {
      this.#isWatching = false;
    }
  }
}
