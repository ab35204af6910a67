// Runs one worker: its share of the partitions goes from Kafka into PostgreSQL, batch by batch.
//
// One loop (`run`) owns the worker. Each turn takes what has arrived (the outcome of the database's work, records, the
// group's events, Kafka's answers) and starts what is due. Callbacks and asynchronous work change nothing: they only
// notify the loop. The database does one thing at a time; committing takes turns with placing and settling partitions,
// so that no partition in trouble holds up the others. Kafka is served in every turn, even while the database is busy.
//
// Every failure has one answer, the resync: drop what was built, stop fetching, forget what was learned of the
// database, wait a little, read the stored offsets, fetch from there.

import type { ConsumerEvent } from "../../shared/kafka/consumer.ts";
import { errorKind } from "../../shared/kafka/error-codes.ts";
import type { Batch } from "../../shared/pipeline/batch.ts";
import type { CommitReport } from "../../shared/pipeline/commit.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { Notifier } from "../../shared/runtime/notifier.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { Assignment } from "./assignment.ts";
import { DatabaseWork } from "./database-work.ts";
import { type Resync, ResyncNeeded } from "./failure.ts";
import { GroupMembership } from "./group-membership.ts";
import { Intake } from "./intake.ts";
import { LogSurveys } from "./log-survey.ts";
import { Placement } from "./placement.ts";
import type { DatabaseSession, WorkerPorts } from "./ports.ts";
import { Recovery, resyncOrThrow } from "./recovery.ts";
import type { WorkerStatus } from "./thread-messages.ts";

/** librdkafka's wake-ups are edge-triggered and can be missed; a turn at least this often is the fallback. */
const MAX_IDLE_MS = 250;
const CLOSE_DEADLINE_MS = 5000;

export interface WorkerOptions {
  readonly topics: readonly string[];
  readonly consumerGroup: string;
  readonly batchSize: number;
  readonly maxFutureSkewMs: number;
}

export class PartitionWorker {
  readonly #ports: WorkerPorts;
  readonly #options: WorkerOptions;
  readonly #telemetry: WorkerTelemetry;
  readonly #notifier: Notifier;
  readonly #onCommitted: () => void;
  readonly #assignment = new Assignment();
  readonly #intake: Intake;
  readonly #membership: GroupMembership;
  readonly #placement: Placement;
  readonly #surveys: LogSurveys;
  readonly #work: DatabaseWork;
  readonly #recovery: Recovery;
  #phase: "running" | "draining" | "ended" = "running";
  #session: DatabaseSession | undefined;
  /** True once Kafka was asked about the partitions since the last resync. */
  #isSurveyed = false;
  #kafkaFault: string | undefined;

  /** @param onCommitted called after each answered COMMIT, when the telemetry has moved */
  constructor(
    ports: WorkerPorts,
    options: WorkerOptions,
    telemetry: WorkerTelemetry,
    onCommitted: () => void,
  ) {
    const { kafka, notifier } = ports;
    const notify = (): void => notifier.notify();
    this.#ports = ports;
    this.#options = options;
    this.#telemetry = telemetry;
    this.#notifier = notifier;
    this.#onCommitted = onCommitted;
    this.#work = new DatabaseWork(notify);
    this.#recovery = new Recovery(telemetry);
    this.#intake = new Intake(kafka, this.#assignment, {
      batchSize: options.batchSize,
      batchClock: () => ({
        processedAtMs: this.#session?.now() ?? Date.now(),
        maxFutureSkewMs: options.maxFutureSkewMs,
      }),
      onFetched: (topic, records) => telemetry.recordsFetched(topic, records),
    });
    this.#membership = new GroupMembership(kafka, this.#assignment, this.#intake, telemetry);
    this.#surveys = new LogSurveys(kafka, options.topics, this.#assignment, notify);
    this.#placement = new Placement(kafka, this.#assignment, this.#intake, this.#surveys, telemetry);
  }

  /**
   * Works until it is drained.
   * @throws FatalError for a failure that no retry fixes
   */
  async run(): Promise<void> {
    try {
      for (;;) {
        this.#takeTurn();
        if (this.#isDrained()) return;
        await this.#notifier.wait(this.#idleMs());
      }
    } finally {
      this.#phase = "ended";
      this.#telemetry.flushLog();
      await this.#ports.kafka.close(CLOSE_DEADLINE_MS);
      await this.#session?.close();
    }
  }

  /** Commits what was read and then ends `run`. What librdkafka has buffered stays in Kafka. */
  drain(): void {
    if (this.#phase !== "running") return;
    this.#phase = "draining";
    this.#notifier.notify();
  }

  /** How this worker is, for /readyz and for people. */
  status(): WorkerStatus {
    const { unansweredSinceMs } = this.#work;
    return {
      hasJoined: this.#membership.hasJoined(),
      hasDatabase: this.#session !== undefined && !this.#session.isLost,
      databaseUnansweredSeconds:
        unansweredSinceMs === undefined ? 0 : Math.floor((performance.now() - unansweredSinceMs) / 1000),
      kafkaFault: this.#kafkaFault,
      pausedBecause: this.#recovery.reason?.message,
      partitions: this.#assignment.all().map((owned) => ({
        topic: owned.topic,
        partition: owned.partition,
        state: owned.state.kind,
        storedOffset: owned.lastStored,
        endOffset: owned.end,
        lag: this.#placement.lagOf(owned),
        unreadableBecause: owned.state.kind === "fetching" ? owned.state.unreadable?.reason : undefined,
      })),
    };
  }

  /** @throws FatalError for a failure that no retry fixes */
  #takeTurn(): void {
    this.#recovery.attempt(() => this.#work.takeOutcome());
    // Kafka gives nothing while a revocation has no answer.
    this.#recovery.attempt(() => this.#answerRevocation(performance.now()));
    this.#recovery.attempt(() => this.#takeFromKafka());
    const now = performance.now();
    this.#recovery.attempt(() => this.#intake.stallWhenDue(now));
    if ((this.#surveyDueAtMs() ?? Infinity) <= now) this.#surveys.start();
    this.#work.endBackOff(now);
    this.#recovery.attempt(() => this.#startWork(now));
    if (this.#isWell()) this.#recovery.resume(now);
    this.#recovery.countPause(now);
  }

  #isDrained(): boolean {
    return this.#phase === "draining" && this.#intake.isEmpty && this.#work.current.kind !== "committing";
  }

  /** A worker that drains asks Kafka nothing more. */
  #surveyDueAtMs(): number | undefined {
    return this.#phase === "running" ? this.#surveys.dueAtMs() : undefined;
  }

  /** Ms until something is due. */
  #idleMs(): number {
    const work = this.#work.current;
    const canWork = work.kind === "idle" && this.#session !== undefined;
    const dueAtMs = [
      this.#intake.stallsAtMs(),
      this.#membership.revocationDeadlineMs,
      this.#surveyDueAtMs(),
      work.kind === "backing_off" ? work.untilMs : undefined,
      canWork ? this.#intake.dueAtMs() : undefined,
      canWork ? this.#placement.dueAtMs() : undefined,
    ].filter((at) => at !== undefined);
    return Math.min(MAX_IDLE_MS, Math.max(0, Math.min(...dueAtMs) - performance.now()));
  }

  #startWork(now: number): void {
    if (this.#recovery.failure !== undefined) {
      if (this.#work.isFree) this.#resync(!this.#intake.isEmpty);
      return;
    }
    if (this.#work.current.kind !== "idle") return;
    const session = this.#session;
    if (session === undefined) {
      if (this.#phase === "running") this.#connect(now);
      return;
    }
    if (session.isLost) throw new ResyncNeeded("connection", "PostgreSQL has closed the connection");
    const dueAtMs = this.#intake.dueAtMs();
    const isCommitDue = dueAtMs !== undefined && dueAtMs <= now;
    const placing = this.#phase === "running" ? this.#placement.next(now) : undefined;
    if (placing !== undefined && (!isCommitDue || this.#work.last === "committing")) {
      this.#work.begin({ kind: placing.kind, sinceMs: now }, () => placing.run(session));
    } else if (isCommitDue) {
      const batch = this.#intake.handOver();
      if (batch !== undefined) this.#commit(session, batch, false);
      this.#intake.resume();
      // A full batch left records in librdkafka's queue, which does not wake the loop for them again.
      this.#notifier.notify();
    }
  }

  #connect(now: number): void {
    this.#work.begin({ kind: "connecting", sinceMs: now }, async () => {
      const session = await this.#ports.database.connect(() => this.#notifier.notify());
      // The loop has ended in the meantime, and no longer takes an outcome.
      if (this.#phase === "ended") session.destroy();
      return () => {
        this.#session = session;
        this.#telemetry.databaseConnected(session.backendPid);
      };
    });
  }

  #commit(session: DatabaseSession, batch: Batch, isRetry: boolean): void {
    this.#work.begin({ kind: "committing", sinceMs: performance.now(), batch }, async () => {
      try {
        const report = await session.commit(batch);
        return () => this.#onCommit(batch, report);
      } catch (error) {
        return () => this.#onCommitFailed(session, batch, isRetry, error);
      }
    });
  }

  #onCommit(batch: Batch, report: CommitReport): void {
    for (const [slot, { to }] of batch.spans) this.#assignment.markCommitted(slot, to);
    this.#telemetry.batchCommitted(batch, report);
    this.#onCommitted();
    const owned = [...batch.spans].filter(([slot]) => this.#assignment.get(slot) !== undefined);
    const offsets = owned.map(([, { topic, partition, to }]) => ({ topic, partition, offset: to }));
    this.#intake.release(batch);
    this.#recovery.committed(performance.now());
    // Kafka's own offsets, for lag tools; they decide nothing. Last, because Kafka may refuse them.
    this.#ports.kafka.commit(offsets);
  }

  #onCommitFailed(session: DatabaseSession, batch: Batch, isRetry: boolean, error: unknown): void {
    const failure = resyncOrThrow(error);
    const isTransient = failure.cause === "transient" || failure.cause === "blocked";
    // A drain has no later turn: a transaction that lost against another one is tried once more.
    if (this.#phase === "draining" && isTransient && !isRetry) return this.#commit(session, batch, true);
    this.#intake.release(batch);
    this.#recovery.noteFailedBatch(failure);
    this.#resync(true);
  }

  /** @param isDropping whether records are dropped that were read already */
  #resync(isDropping: boolean): void {
    const failure = this.#recovery.take();
    if (failure === undefined) return;
    const now = performance.now();
    this.#intake.reset();
    this.#assignment.resync();
    this.#surveys.hurry();
    this.#isSurveyed = false;
    if (this.#phase === "draining") return reportDroppedDrain(failure, isDropping);
    this.#work.backOff(now + this.#recovery.pause(failure, now));
    const session = this.#session;
    if (session === undefined) return;
    // Nothing of the old memory is left; the session stays only where it is surely sound.
    if (failure.cause === "connection" || session.isLost || this.#recovery.suspectsSession) {
      session.destroy();
      this.#session = undefined;
      this.#telemetry.databaseLost();
    } else {
      session.forget();
      if (failure.cause === "blocked") this.#placement.suspectStuckPeers();
    }
  }

  /** True once all that can be read is read again. */
  #isWell(): boolean {
    const { reason, failure } = this.#recovery;
    if (reason === undefined || failure !== undefined || this.#work.current.kind === "backing_off")
      return false;
    if (this.#session === undefined || this.#session.isLost) return false;
    if (!this.#isSurveyed || this.#placement.isUnread()) return false;
    // Where a batch has failed, only a COMMIT shows that the cause has ended, unless there is nothing left to commit.
    if (!this.#recovery.hasFailedBatch) return true;
    // Records that were read are no lag any more, but not stored yet.
    const isCommitting = this.#work.current.kind === "committing";
    if (isCommitting || !this.#intake.isEmpty) return false;
    return this.#assignment.all().every((owned) => (this.#placement.lagOf(owned) ?? 0) === 0);
  }

  #takeFromKafka(): void {
    if (this.#phase === "draining") this.#intake.stop();
    for (let event = this.#intake.take(); event !== undefined; event = this.#intake.take()) {
      this.#onKafkaEvent(event);
    }
    const survey = this.#surveys.take(performance.now());
    if (survey === undefined) return;
    this.#isSurveyed = true;
    this.#kafkaFault = survey.fault;
    if (survey.fault !== undefined) this.#telemetry.kafkaError("survey", survey.fault);
    this.#placement.apply(survey);
  }

  #onKafkaEvent(event: ConsumerEvent): void {
    switch (event.kind) {
      case "assign":
        this.#membership.onAssign(event.partitions);
        return this.#surveys.hurry();
      case "revoke":
        this.#membership.onRevoke(event.partitions, event.lost, performance.now());
        this.#answerRevocation(performance.now());
        if (event.lost) throw new ResyncNeeded("lost", "the group has given our partitions to others");
        return;
      case "out_of_range":
        return this.#placement.onOutOfRange(event);
      case "unreadable": {
        const owned = this.#assignment.get(this.#ports.kafka.slot(event));
        if (owned !== undefined && this.#assignment.markUnreadable(owned, event)) {
          this.#telemetry.unreadable(event.topic, event.partition, event.offset, event.reason);
        }
        return;
      }
      case "error":
        return this.#onKafkaError(event);
      case "committed":
        if (event.error !== undefined) this.#telemetry.offsetCommitFailed(event.error);
        return;
      case "log":
        this.#telemetry.kafkaLog(event.level, event.facility, event.message);
    }
  }

  #onKafkaError({ code, name, message, fatal }: ConsumerEvent & { kind: "error" }): void {
    this.#telemetry.kafkaError(name, message);
    if (fatal) throw new FatalError(`Kafka: ${message}`);
    // Before the first record no waiting helps; later it may be a change in progress.
    if (this.#intake.hasFetched || errorKind(code) !== "authorization") return;
    const { topics, consumerGroup } = this.#options;
    throw new FatalError(
      `Kafka does not let this user read ${topics.join(", ")} as group "${consumerGroup}": ${message}`,
    );
  }

  #answerRevocation(now: number): void {
    const work = this.#work.current;
    this.#membership.answerRevocation(
      now,
      (slot) => work.kind === "committing" && work.batch.spans.has(slot),
    );
  }
}

/** No data is lost, but the caller must learn that the drain did not complete. @throws FatalError */
function reportDroppedDrain({ message }: Resync, isDropping: boolean): void {
  if (isDropping) throw new FatalError(`what was read could not be committed, and is read again: ${message}`);
}
