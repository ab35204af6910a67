// Runs one worker: its share of the partitions goes from Kafka into PostgreSQL, batch by batch.
//
// One loop (`run`) owns the worker. Each turn takes what has arrived (the outcome of the database's work, records, the
// group's events, Kafka's answers) and starts what is due. Callbacks and asynchronous work change nothing: they only
// notify the loop. The database does one thing at a time; committing takes turns with placing and settling partitions,
// so that no partition in trouble holds up the others. Kafka is served in every turn, even while the database is busy.
//
// What the loop starts next depends on one union, `Work`: what the database is doing. The `Flow` of `Recovery` says
// whether a failure waits for its resync, and what people are told of a pause.
//
// Every failure has one answer, the resync: drop what was built and what was learned of the database, stop fetching,
// wait a little, read the stored offsets, fetch from there.

import { ClockCheck } from "../../shared/runtime/clock-check.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { Assignment } from "./assignment.ts";
import { BatchCommitter } from "./batch-committer.ts";
import { DeadLetterLimit } from "./dead-letter-limit.ts";
import { DatabaseWork } from "./database-work.ts";
import { ResyncNeeded } from "./failure.ts";
import { GroupMembership } from "./group-membership.ts";
import { Intake } from "./intake.ts";
import { KafkaEvents } from "./kafka-events.ts";
import { LogSurveys } from "./log-survey.ts";
import { PartitionReport } from "./partition-report.ts";
import { Placement } from "./placement.ts";
import type { WorkerOptions, WorkerPorts } from "./ports.ts";
import { Recovery } from "./recovery.ts";
import { SessionHolder } from "./session-holder.ts";
import { Settlement } from "./settlement.ts";
import type { WorkerStatus } from "./thread-messages.ts";

/** librdkafka's wake-ups are edge-triggered and can be missed; a turn at least this often is the fallback. */
const MAX_IDLE_MS = 250;
const CLOSE_DEADLINE_MS = 5000;

export class PartitionWorker {
  readonly #ports: WorkerPorts;
  readonly #telemetry: WorkerTelemetry;
  readonly #clockCheck = new ClockCheck();
  readonly #assignment = new Assignment();
  readonly #intake: Intake;
  readonly #membership: GroupMembership;
  readonly #placement: Placement;
  readonly #surveys: LogSurveys;
  readonly #kafkaEvents: KafkaEvents;
  readonly #work: DatabaseWork;
  readonly #sessions: SessionHolder;
  readonly #committer: BatchCommitter;
  readonly #report: PartitionReport;
  readonly #recovery: Recovery;
  #phase: "running" | "rejoining" | "draining" = "running";

  /** @param onCommitted called after each answered COMMIT, when the telemetry has moved */
  constructor(
    ports: WorkerPorts,
    options: WorkerOptions,
    telemetry: WorkerTelemetry,
    onCommitted: () => void,
  ) {
    const { kafka, clock, notifier } = ports;
    const notify = (): void => notifier.notify();
    this.#ports = ports;
    this.#telemetry = telemetry;
    this.#work = new DatabaseWork(notify);
    this.#sessions = new SessionHolder(ports, this.#work, telemetry);
    this.#recovery = new Recovery(clock, telemetry);
    const deadLetterLimit = new DeadLetterLimit(options.deadLetterLimit, kafka, this.#assignment, telemetry);
    this.#intake = new Intake(kafka, this.#assignment, clock, {
      batchSize: options.batchSize,
      batchClock: () => ({
        processedAtMs: this.#sessions.current?.now() ?? clock.now(),
        maxFutureSkewMs: options.maxFutureSkewMs,
      }),
      onFetched: (topic, records) => telemetry.recordsFetched(topic, records),
      deadLetterLimit,
    });
    this.#membership = new GroupMembership(kafka, this.#assignment, this.#intake, this.#work, telemetry);
    this.#surveys = new LogSurveys(kafka, options.topics, this.#assignment, notify);
    this.#report = new PartitionReport(kafka, this.#assignment, this.#surveys, telemetry);
    const shared = { kafka, clock, assignment: this.#assignment, intake: this.#intake, telemetry };
    const settlement = new Settlement(options, { ...shared, surveys: this.#surveys });
    this.#placement = new Placement(kafka, this.#assignment, settlement, this.#surveys, clock, telemetry);
    this.#committer = new BatchCommitter({
      ...shared,
      deadLetterLimit,
      work: this.#work,
      recovery: this.#recovery,
      isDraining: () => this.#phase === "draining",
      onCommitted,
    });
    this.#kafkaEvents = new KafkaEvents(options, {
      ...shared,
      membership: this.#membership,
      settlement,
      surveys: this.#surveys,
    });
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
        await this.#ports.notifier.wait(this.#idleMs());
      }
    } finally {
      this.#telemetry.flushLog();
      await Promise.all([this.#ports.kafka.close(CLOSE_DEADLINE_MS), this.#sessions.close()]);
    }
  }

  /** Commits what was read and then ends `run`. What librdkafka has buffered stays in Kafka. */
  drain(): void {
    this.#phase = "draining";
    this.#ports.notifier.notify();
  }

  /** Leaves the group and joins it again, so that it assigns all partitions again. */
  rejoin(): void {
    if (this.#phase === "running") this.#phase = "rejoining";
    this.#ports.notifier.notify();
  }

  /** How this worker is, for /readyz and for people. */
  status(): WorkerStatus {
    return {
      hasJoined: this.#membership.hasJoined(),
      hasDatabase: this.#sessions.isConnected,
      databaseUnansweredSeconds: Math.floor(this.#work.unansweredMs(this.#ports.clock.monotonicMs()) / 1000),
      kafkaFault: this.#surveys.fault,
      pausedBecause: this.#recovery.reason?.message,
      partitions: this.#report.statuses(),
    };
  }

  /** @throws FatalError for a failure that no retry fixes */
  #takeTurn(): void {
    const { clock } = this.#ports;
    this.#recovery.attempt(() => this.#clockCheck.pass(clock.monotonicMs()));
    this.#recovery.attempt(() => this.#work.takeOutcome(clock.monotonicMs()));
    // Kafka gives nothing while a revocation has no answer.
    this.#recovery.attempt(() => this.#membership.answerRevocation(clock.monotonicMs()));
    this.#recovery.attempt(() => this.#takeFromKafka());
    const now = clock.monotonicMs();
    if ((this.#surveyDueAtMs() ?? Infinity) <= now) this.#surveys.start();
    this.#work.endBackOff(now);
    this.#recovery.attempt(() => this.#startWork(now));
    // In this turn: a failure that starting work has shown wakes the loop for no other one.
    this.#recovery.attempt(() => this.#resync());
    if (this.#isWell()) this.#recovery.resume(now);
    this.#recovery.countPause(now);
  }

  #isDrained(): boolean {
    return this.#phase === "draining" && this.#intake.isEmpty && this.#work.current.kind !== "committing";
  }

  /** A worker that drains asks Kafka nothing more. */
  #surveyDueAtMs(): number | undefined {
    return this.#phase === "draining" ? undefined : this.#surveys.dueAtMs();
  }

  /** Ms until something is due. */
  #idleMs(): number {
    const work = this.#work.current;
    const canWork = work.kind === "idle" && this.#sessions.current !== undefined;
    const dueAtMs = [
      this.#membership.revocationDeadlineMs,
      this.#surveyDueAtMs(),
      work.kind === "backing_off" ? work.untilMs : undefined,
      canWork ? this.#intake.dueAtMs() : undefined,
      canWork ? this.#placement.dueAtMs() : undefined,
      this.#sessions.probeDueAtMs(),
    ].filter((at) => at !== undefined);
    return Math.min(MAX_IDLE_MS, Math.max(0, Math.min(...dueAtMs) - this.#ports.clock.monotonicMs()));
  }

  #startWork(now: number): void {
    if (this.#recovery.failure !== undefined || this.#work.current.kind !== "idle") return;
    const session = this.#sessions.current;
    if (session === undefined) return this.#phase === "draining" ? undefined : this.#sessions.connect(now);
    if (session.isLost) throw new ResyncNeeded("connection", "PostgreSQL has closed the connection");
    const dueAtMs = this.#intake.dueAtMs();
    const isCommitDue = dueAtMs !== undefined && dueAtMs <= now;
    const placing = this.#phase === "draining" ? undefined : this.#placement.next(now);
    if (placing !== undefined && (!isCommitDue || this.#work.last === "committing")) {
      this.#work.begin({ kind: placing.kind, sinceMs: now }, () => placing.run(session));
    } else if (isCommitDue) {
      const batch = this.#intake.handOver();
      if (batch !== undefined) this.#committer.commit(session, batch);
      // A full batch left records in librdkafka's queue, which does not wake the loop for them again.
      this.#ports.notifier.notify();
    } else if ((this.#sessions.probeDueAtMs() ?? Infinity) <= now) {
      this.#sessions.probe(now);
    }
  }

  /** Resyncs after a failure, once the database does nothing more. */
  #resync(): void {
    const { failure, hasFailedBatch } = this.#recovery;
    if (failure === undefined || !this.#work.isFree) return;
    const isDropping = !this.#intake.isEmpty || hasFailedBatch;
    const now = this.#ports.clock.monotonicMs();
    this.#intake.reset();
    this.#assignment.resync();
    this.#surveys.restart();
    if (this.#phase === "draining") {
      // No data is lost, but the caller must learn that the drain did not complete.
      if (!isDropping) return this.#recovery.dismiss();
      throw new FatalError(`what was read could not be committed, and is read again: ${failure.message}`);
    }
    this.#work.backOff(now + this.#recovery.pause(failure, now));
    // Nothing of the old memory is left; the session stays only where it is surely sound.
    this.#sessions.reset(failure.cause === "connection" || this.#recovery.suspectsSession);
    if (failure.cause === "blocked" && this.#sessions.isConnected) this.#placement.suspectStuckPeers();
  }

  /** True once all that can be read is read again. */
  #isWell(): boolean {
    const { reason, failure } = this.#recovery;
    const { kind } = this.#work.current;
    if (reason === undefined || failure !== undefined || kind === "backing_off") return false;
    if (!this.#sessions.isConnected || !this.#surveys.isAnswered || this.#placement.isUnread()) return false;
    // Where a batch has failed, only a COMMIT shows that the cause has ended, unless there is nothing left to commit.
    if (!this.#recovery.hasFailedBatch) return true;
    // Records that were read are no lag any more, but not stored yet.
    return kind !== "committing" && this.#intake.isEmpty && !this.#report.hasLag();
  }

  #takeFromKafka(): void {
    if (this.#phase === "draining") this.#intake.stop();
    if (this.#phase === "rejoining") this.#ports.kafka.rejoin();
    this.#phase = this.#phase === "draining" ? "draining" : "running";
    for (let event = this.#intake.take(); event !== undefined; event = this.#intake.take()) {
      this.#kafkaEvents.handle(event);
    }
    const survey = this.#surveys.take(this.#ports.clock.monotonicMs());
    if (survey === undefined) return;
    if (survey.fault !== undefined) this.#telemetry.kafkaError("survey", survey.fault);
    this.#placement.apply(survey);
    this.#report.publish();
  }
}
