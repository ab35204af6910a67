// A pipeline that is ready in; records through it until a stop, and all of them consumed, out.
import { FatalError } from "../../shared/runtime/errors.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import type { ConsumerProcess } from "./consumer-process.ts";
import type { LedgerFigures } from "./end-to-end-proofs.ts";
import type { Observer } from "./observer.ts";
import { BROKEN, REPEATED } from "./injected-faults.ts";
import type { Publisher } from "./publisher.ts";
import type { RateHistory } from "./rate-history.ts";
import type { Servers } from "./servers.ts";
import type { Endpoints, Flow, Phase, Snapshot } from "./snapshot.ts";
import type { DemoOptions } from "./options.ts";

export interface RunOptions extends DemoOptions {
  readonly servers: Servers;
  readonly consumer: ConsumerProcess;
  readonly publisher: Publisher;
  readonly observer: Observer;
}

const POLL_MS = 20;
/** The consumer has nobody to wait for: this long without a step, it is stuck. */
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
    this.#failed.catch(() => undefined); // where nobody waits for it
  }

  /**
   * Publishes until a stop is requested or the time is over, and waits until all of it is consumed.
   * @param onFirstEvent called when the first event is in PostgreSQL
   * @throws FatalError when the consumer dies or is stuck, or nothing can be published
   */
  async flow(stop: StopSignal, onFirstEvent: () => void): Promise<void> {
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

  /** Has the consumer commit, leave and end, and looks at everything once more. */
  async drain(): Promise<void> {
    const { consumer, observer } = this.#options;
    // Its metrics go with it.
    await observer.stop();
    await observer.look();
    this.#phase = "draining";
    await consumer.drain(DRAIN_DEADLINE_MS);
    await observer.look();
    this.#phase = "done";
  }

  /** For the ledger, after `drain`. */
  figures(): LedgerFigures {
    const { observer, publisher } = this.#options;
    const { deliveries } = publisher;
    const { duplicates, deadLettered } = observer.outcome;
    const { acknowledged: byType } = deliveries.take();
    return {
      acknowledged: deliveries.acknowledged,
      undelivered: deliveries.failed + deliveries.outstanding,
      inLog: observer.ends.reduce((sum, end) => sum + end, 0),
      consumed: observer.consumedRecords,
      duplicates,
      deadLettered,
      broken: byType.get(BROKEN) ?? 0,
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
      produced: flowOf(observer.produced, isDone ? elapsedMs : undefined),
      consumed: flowOf(observer.consumed, isDone ? elapsedMs : undefined),
      partitions: observer.lag,
      latency: isDone ? observer.overallLatency : observer.latency,
      hours: observer.hours,
      outcome: observer.outcome,
      deadLetters: observer.deadLetters,
      newestDeadLetters: observer.newestDeadLetters,
      databaseBytes: observer.databaseBytes,
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
    const state = (await answer?.text()) ?? "it does not answer";
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

/** @param elapsedMs where it is over: the rate is the average then */
function flowOf({ total, perSecond, seconds }: RateHistory, elapsedMs: number | undefined): Flow {
  return {
    total,
    perSecond: elapsedMs === undefined ? perSecond : total / Math.max(1, elapsedMs / 1000),
    history: seconds,
  };
}
