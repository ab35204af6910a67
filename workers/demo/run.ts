// Runs the demo: publishes records until a stop, waits until all are consumed, and drains the consumer.
import type { DeadLetters, Flow, Hours } from "../../shared/api-schema.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import type { PartitionReport } from "../../shared/store/check/report.ts";
import type { ConsumerProcess } from "./consumer-process.ts";
import type { EndToEndFigures } from "./end-to-end-proofs.ts";
import type { Observer, PartitionLag } from "./observer.ts";
import { INVALID, REPEATED } from "./injected-faults.ts";
import type { Publisher } from "./publisher.ts";
import type { RateHistory } from "./rate-history.ts";
import type { Servers } from "./servers.ts";
import type { DemoOptions } from "./options.ts";

export interface RunOptions extends DemoOptions {
  readonly servers: Servers;
  readonly consumer: ConsumerProcess;
  readonly publisher: Publisher;
  readonly observer: Observer;
}

export type Phase =
  | "producing"
  /** No more records are published; those in flight are acknowledged, then consumed. */
  | "finishing"
  /** The consumer commits what it holds and leaves the group. */
  | "draining"
  | "done";

export interface Endpoints {
  readonly consoleUrl: string;
  /** The command that connects to the database. */
  readonly psql: string;
  readonly consumerLog: string;
}

/** What the live view shows at one moment. */
export interface Snapshot {
  readonly phase: Phase;
  /** Since the first record. */
  readonly elapsedMs: number;
  /** How long the demo produces; undefined: until Ctrl-C. */
  readonly limitMs: number | undefined;
  /** The requested records per second; Infinity = unlimited. */
  readonly rate: number;
  /** True while the producer waits because the consumer is too far behind. */
  readonly isHeldBack: boolean;
  /** Acknowledged by Kafka. */
  readonly produced: Growth;
  /** Committed in PostgreSQL. */
  readonly consumed: Growth;
  readonly lag: readonly PartitionLag[];
  /** From an event's creation to its commit. */
  readonly age: Flow["now"]["age"];
  readonly totals: Flow["totals"] | undefined;
  /** Oldest first. */
  readonly hours: Hours["hours"];
  readonly deadLetters: DeadLetters | undefined;
  readonly endpoints: Endpoints;
}

/** A total, its current rate per second, and its rate in each second so far, oldest first. */
export type Growth = Pick<RateHistory, "total" | "rate" | "seconds">;

const POLL_MS = 20;
/** The consumer waits for nothing: if it makes no progress for this long, it is stuck. */
const STUCK_AFTER_MS = 30_000;
/** The consumer's own deadline is 40 s. */
const DRAIN_DEADLINE_MS = 45_000;

export class Run {
  readonly #options: RunOptions;
  readonly #endpoints: Endpoints;
  readonly #failed: Promise<never>;
  #phase: Phase = "producing";
  #startedAtMs: number | undefined;
  #endedAtMs: number | undefined;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#endpoints = endpointsOf(options);
    this.#failed = Promise.race([options.observer.failed, this.#consumerDied()]);
    this.#failed.catch(() => undefined); // where nothing waits for it
  }

  /**
   * Publishes until a stop is requested or the time is over, and waits until every record is consumed.
   * @param onFirstEvent called when the first event is in PostgreSQL
   * @throws FatalError if the consumer dies or is stuck, or nothing can be published
   */
  async produce(stop: StopSignal, onFirstEvent: () => void): Promise<void> {
    const { publisher, observer, seconds } = this.#options;
    const over = seconds === undefined ? [] : [Bun.sleep(seconds * 1000)];
    const stopped = Promise.race([stop.requested, ...over]).then(() => this.#finish());
    this.#startedAtMs = performance.now();
    publisher.begin();
    try {
      await this.#orFailed(Promise.race([stopped, publisher.ended, this.#firstEvent()]));
      if (observer.consumedRecords > 0) onFirstEvent();
      await this.#orFailed(Promise.race([stopped, publisher.ended]));
      await this.#orFailed(publisher.ended);
      await this.#orFailed(this.#allConsumed());
    } finally {
      publisher.stop("failure");
    }
  }

  /** Has the consumer commit, leave the group and end, and reads the log and the tables a last time. */
  async drain(): Promise<void> {
    const { consumer, observer } = this.#options;
    // The consumer's /api ends with it.
    await this.#orFailed(observer.settle());
    await observer.stop();
    this.#phase = "draining";
    await consumer.drain(DRAIN_DEADLINE_MS);
    await observer.readTables();
    this.#phase = "done";
  }

  /**
   * The figures for the end-to-end proofs; call it after `drain`.
   * @param partitions what `check` found
   */
  figures(partitions: readonly PartitionReport[]): EndToEndFigures {
    const { observer, publisher } = this.#options;
    const { deliveries } = publisher;
    const { acknowledged: byType } = deliveries.take();
    const sum = (name: "consumed" | "duplicates" | "dead_lettered"): number =>
      partitions.reduce((total, partition) => total + partition[name], 0);
    return {
      acknowledged: deliveries.acknowledged,
      undelivered: deliveries.failed + deliveries.outstanding,
      inLog: observer.recordsInLog,
      consumed: sum("consumed"),
      duplicates: sum("duplicates"),
      deadLettered: sum("dead_lettered"),
      invalid: byType.get(INVALID) ?? 0,
      repeated: byType.get(REPEATED) ?? 0,
    };
  }

  snapshot(): Snapshot {
    const { observer, publisher, seconds, rate } = this.#options;
    const until = this.#endedAtMs ?? performance.now();
    const elapsedMs = until - (this.#startedAtMs ?? until);
    const isDone = this.#phase === "done";
    return {
      phase: this.#phase,
      elapsedMs,
      limitMs: seconds === undefined ? undefined : seconds * 1000,
      rate,
      isHeldBack: publisher.isHeldBack,
      produced: isDone ? averaged(observer.produced, elapsedMs) : observer.produced,
      consumed: isDone ? averaged(observer.consumed, elapsedMs) : observer.consumed,
      lag: observer.lag,
      age: observer.age,
      totals: observer.flow?.totals,
      hours: observer.hours,
      deadLetters: observer.deadLetters,
      endpoints: this.#endpoints,
    };
  }

  #finish(): void {
    if (this.#phase !== "producing") return;
    this.#phase = "finishing";
    this.#endedAtMs = performance.now();
    this.#options.publisher.stop("the demo ends");
  }

  async #firstEvent(): Promise<void> {
    while (this.#options.observer.consumedRecords === 0) await Bun.sleep(POLL_MS);
  }

  async #allConsumed(): Promise<void> {
    const { observer, publisher } = this.#options;
    let [consumed, movedAtMs] = [-1, performance.now()];
    while (observer.consumedRecords < publisher.deliveries.acknowledged) {
      const nowMs = performance.now();
      if (observer.consumedRecords > consumed) [consumed, movedAtMs] = [observer.consumedRecords, nowMs];
      if (nowMs - movedAtMs > STUCK_AFTER_MS) throw await this.#stuck();
      await Bun.sleep(POLL_MS);
    }
  }

  async #consumerDied(): Promise<never> {
    const { consumer } = this.#options;
    await consumer.ended;
    if (this.#phase === "draining" || this.#phase === "done")
      return await new Promise<never>(() => undefined);
    throw await consumer.whyEnded();
  }

  async #stuck(): Promise<FatalError> {
    const { consumer, observer, publisher } = this.#options;
    const answer = await fetch(consumer.url("/readyz")).catch(() => undefined);
    const state = (await answer?.text()) ?? "no answer";
    return new FatalError(
      `the consumer is stuck: ${observer.consumedRecords} of ${publisher.deliveries.acknowledged} records consumed, ` +
        `and no more for ${STUCK_AFTER_MS / 1000} s. /readyz: ${state}\nIts last lines:\n${consumer.tail()}`,
    );
  }

  #orFailed<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failed]);
  }
}

function endpointsOf({ servers: { database }, consumer }: RunOptions): Endpoints {
  const { user, password, host, port, name } = database;
  return {
    consoleUrl: consumer.url("/"),
    psql: `psql postgresql://${user}:${password}@${host}:${port}/${name}`,
    consumerLog: consumer.logPath,
  };
}

/** At the end the rate is the average of the whole run. */
function averaged({ total, seconds }: Growth, elapsedMs: number): Growth {
  return { total, rate: total / Math.max(1, elapsedMs / 1000), seconds };
}
