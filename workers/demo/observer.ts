// The broker, the database and the consumer's metrics, looked at several times a second, in; what they say out.
import { errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import type { Session } from "../../shared/store/session.ts";
import { type Latency, LatencyWindow } from "./latency.ts";
import type { LogEnds } from "./log-ends.ts";
import { RateHistory } from "./rate-history.ts";
import type { DeadLetterRow, HourRow, Outcome } from "./snapshot.ts";
import {
  readDatabaseBytes,
  readDeadLetters,
  readHours,
  readNewestDeadLetters,
  readPartitions,
  type StoredPartition,
} from "./stored-figures.ts";

export interface ObserverOptions {
  readonly session: Session;
  readonly logEnds: LogEnds;
}

/** What there is to look at besides, once it is there. */
interface Watched {
  readonly metricsUrl: string;
  readonly acknowledged: () => number;
}

/** The producer is held back by what is known of the consumer: the fresher, the less it waits for nothing. */
const LOOK_MS = 100;
/** Every so many looks. */
const HOURS_EVERY = 3;
const METRICS_EVERY = 10;
const SIZE_EVERY = 50;
const SCRAPE_DEADLINE_MS = 2000;
/** The servers are on this machine, and nobody stops them: this long without an answer they are broken. */
const PATIENCE_MS = 15_000;

export class Observer {
  /** Rejects when the servers have not answered for a while. */
  readonly failed: Promise<never>;
  readonly produced = new RateHistory();
  readonly consumed = new RateHistory();
  partitions: readonly StoredPartition[] = [];
  /** By partition number. */
  ends: readonly number[] = [];
  hours: readonly HourRow[] = [];
  deadLetters: readonly { readonly reason: string; readonly count: number }[] = [];
  newestDeadLetters: readonly DeadLetterRow[] = [];
  databaseBytes: number | undefined;
  readonly #options: ObserverOptions;
  readonly #latency = new LatencyWindow();
  readonly #fail: (error: Error) => void;
  #watched: Watched | undefined;
  #isStopping = false;
  #running: Promise<void> | undefined;

  constructor(options: ObserverOptions) {
    this.#options = options;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined); // where nobody waits for it
    this.failed = promise;
    this.#fail = reject;
  }

  /** Records whose effects are committed. */
  get consumedRecords(): number {
    return this.partitions.reduce((sum, { consumed }) => sum + consumed, 0);
  }

  get outcome(): Outcome {
    const sum = (of: (partition: StoredPartition) => number): number =>
      this.partitions.reduce((total, partition) => total + of(partition), 0);
    return {
      stored: sum(({ stored }) => stored),
      duplicates: sum(({ duplicates }) => duplicates),
      deadLettered: sum(({ deadLettered }) => deadLettered),
    };
  }

  /** Records in the log that are not committed, by partition. */
  get lag(): { partition: number; lag: number }[] {
    const next = new Map(this.partitions.map(({ partition, nextOffset }) => [partition, nextOffset]));
    return this.ends.map((end, partition) => ({
      partition,
      lag: Math.max(0, end - (next.get(partition) ?? 0)),
    }));
  }

  /** Lately. */
  get latency(): Latency | undefined {
    return this.#latency.recent();
  }

  get overallLatency(): Latency | undefined {
    return this.#latency.overall();
  }

  /**
   * @param metricsUrl of the consumer, whose tables are there by now
   * @param acknowledged how many records the broker has acknowledged so far
   */
  start(metricsUrl: string, acknowledged: () => number): void {
    this.#watched = { metricsUrl, acknowledged };
    this.#running ??= this.#run();
  }

  /** Resolves when the last look is over. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  /** Looks at everything now. @throws what the servers answer */
  async look(): Promise<void> {
    await this.#look(0);
  }

  async #run(): Promise<void> {
    let answeredAtMs = performance.now();
    for (let look = 0; !this.#isStopping; look++) {
      try {
        await this.#look(look);
        answeredAtMs = performance.now();
      } catch (error) {
        if (performance.now() - answeredAtMs > PATIENCE_MS) {
          this.#fail(new FatalError(`the embedded servers do not answer any more: ${errorMessage(error)}`));
          return;
        }
      }
      await Bun.sleep(LOOK_MS);
    }
  }

  async #look(number: number): Promise<void> {
    const { session, logEnds } = this.#options;
    // The ends first: a record is in the log before it is committed, so that no lag is negative.
    this.ends = await logEnds.read();
    this.partitions = await readPartitions(session);
    const nowMs = performance.now();
    this.produced.add(nowMs, this.#watched?.acknowledged() ?? 0);
    this.consumed.add(nowMs, this.consumedRecords);
    if (number % HOURS_EVERY === 0) this.hours = await readHours(session);
    if (number % METRICS_EVERY === 0) {
      this.deadLetters = await readDeadLetters(session);
      this.newestDeadLetters = await readNewestDeadLetters(session);
      await this.#scrape();
    }
    if (number % SIZE_EVERY === 0) this.databaseBytes = await readDatabaseBytes(session);
  }

  /** What the consumer cannot answer now it will answer at the next look, or its end is noticed elsewhere. */
  async #scrape(): Promise<void> {
    if (this.#watched === undefined) return;
    try {
      const answer = await fetch(this.#watched.metricsUrl, {
        signal: AbortSignal.timeout(SCRAPE_DEADLINE_MS),
      });
      if (answer.ok) this.#latency.add(performance.now(), await answer.text());
    } catch {
      // The figures of the last scrape stay.
    }
  }
}
