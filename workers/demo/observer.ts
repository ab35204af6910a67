// Watches the running demo: the tables and the broker ten times a second, the consumer's /api twice a second.
import { Compile } from "typebox/compile";
import {
  type DeadLetters,
  DeadLettersSchema,
  type Flow,
  FlowSchema,
  type Hours,
  HoursSchema,
} from "../../shared/api-schema.ts";
import type { AdminClient } from "../../shared/kafka/admin-client.ts";
import { errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import type { Session } from "../../shared/store/session.ts";
import { RateHistory } from "./rate-history.ts";
import { TOPIC } from "./servers.ts";

export interface ObserverOptions {
  readonly session: Session;
  readonly admin: AdminClient;
  /** Records that the broker has acknowledged so far. */
  readonly acknowledged: () => number;
}

/** Records of a partition that are in Kafka and not committed in PostgreSQL. */
export interface PartitionLag {
  readonly partition: number;
  readonly lag: number;
}

/** The producer waits for the consumer by these figures: fresh ones keep it from waiting in vain. */
const TABLES_EVERY_MS = 100;
const API_EVERY_MS = 500;
const REQUEST_DEADLINE_MS = 5000;
/** The servers run on this machine; after this long without an answer they are broken. */
const PATIENCE_MS = 15_000;
const SETTLE_DEADLINE_MS = 10_000;
/** /api/hours lists no more: older events are missing from it. */
const MAX_HOURS = 24;

const PARTITIONS = Array.from({ length: TOPIC.partitions }, (_, partition) => ({
  topic: TOPIC.name,
  partition,
}));
const FLOW = Compile(FlowSchema);
const HOURS = Compile(HoursSchema);
const DEAD_LETTERS = Compile(DeadLettersSchema);

export class Observer {
  /** Rejects when the servers have not answered for a while, or /api is not as it describes itself. */
  readonly failed: Promise<never>;
  readonly produced = new RateHistory();
  readonly consumed = new RateHistory();
  lag: readonly PartitionLag[] = [];
  /** Records in the log, all partitions together. */
  recordsInLog = 0;
  flow: Flow | undefined;
  hours: Hours["hours"] = [];
  deadLetters: DeadLetters | undefined;
  /** The last known age of events at their commit: /api/flow has none after ten idle seconds. */
  age: Flow["now"]["age"] = null;
  readonly #options: ObserverOptions;
  readonly #fail: (error: Error) => void;
  #isStopping = false;
  #running: Promise<unknown> | undefined;

  constructor(options: ObserverOptions) {
    this.#options = options;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined); // where nothing waits for it
    this.failed = promise;
    this.#fail = reject;
  }

  /** Records whose effects are committed. */
  get consumedRecords(): number {
    return this.consumed.total;
  }

  /** @param url of the consumer, which has created the tables */
  start(url: string): void {
    this.#running ??= Promise.all([this.#watchTables(), this.#watchApi(url)]);
  }

  /** Resolves when the last read has ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  /** Waits until /api shows everything that is committed; gives up after some seconds. */
  async settle(): Promise<void> {
    const deadlineMs = performance.now() + SETTLE_DEADLINE_MS;
    while (!this.#isSettled() && performance.now() < deadlineMs) await Bun.sleep(TABLES_EVERY_MS);
  }

  #isSettled(): boolean {
    if (this.flow?.totals.consumed !== this.consumedRecords) return false;
    return this.hours.length >= MAX_HOURS || countEvents(this.hours) === this.flow.totals.stored;
  }

  /** Reads how far the log and the tables are. @throws what the servers answer */
  async readTables(): Promise<void> {
    const { admin, session, acknowledged } = this.#options;
    // The ends first: a record is in the log before it is committed, so no lag is negative.
    const ends = await admin.listOffsets(PARTITIONS, "end", REQUEST_DEADLINE_MS);
    const rows = await session.run(
      (sql) => sql<{ partition: number; nextOffset: number; consumed: number }[]>`
        select partition, next_offset as "nextOffset", consumed from pipeline_offsets order by reading`,
    );
    const nextOffsets = new Map(rows.map(({ partition, nextOffset }) => [partition, nextOffset]));
    this.lag = ends.map((end = 0, partition) => ({
      partition,
      lag: Math.max(0, end - (nextOffsets.get(partition) ?? 0)),
    }));
    this.recordsInLog = ends.reduce<number>((sum, end = 0) => sum + end, 0);
    const nowMs = performance.now();
    this.produced.add(nowMs, acknowledged());
    this.consumed.add(
      nowMs,
      rows.reduce((sum, { consumed }) => sum + consumed, 0),
    );
  }

  async #watchTables(): Promise<void> {
    let answeredAtMs = performance.now();
    while (!this.#isStopping) {
      try {
        await this.readTables();
        answeredAtMs = performance.now();
      } catch (error) {
        if (performance.now() - answeredAtMs > PATIENCE_MS) {
          this.#fail(new FatalError(`the embedded servers do not answer: ${errorMessage(error)}`));
          return;
        }
      }
      await Bun.sleep(TABLES_EVERY_MS);
    }
  }

  async #watchApi(url: string): Promise<void> {
    while (!this.#isStopping) {
      try {
        await this.#readApi(url);
      } catch (error) {
        if (error instanceof FatalError) return this.#fail(error);
        // The last figures stay. A consumer that has died or is stuck is noticed by the run.
      }
      await Bun.sleep(API_EVERY_MS);
    }
  }

  async #readApi(url: string): Promise<void> {
    const [flow, hours, deadLetters] = await Promise.all([
      get(url, "/api/flow", FLOW),
      get(url, "/api/hours", HOURS),
      get(url, "/api/dead-letters", DEAD_LETTERS),
    ]);
    this.flow = flow;
    this.age = flow.now.age ?? this.age;
    this.hours = hours.hours;
    this.deadLetters = deadLetters;
  }
}

/** All events of these hours. */
export function countEvents(hours: Hours["hours"]): number {
  return hours
    .flatMap(({ types, others }) => [...types, ...(others === null ? [] : [others])])
    .reduce((sum, { events }) => sum + events, 0);
}

/** @throws FatalError for an answer that does not match its schema */
async function get<Value>(
  url: string,
  path: string,
  schema: { Check(value: unknown): value is Value },
): Promise<Value> {
  const answer = await fetch(url + path, { signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) });
  if (!answer.ok) throw new Error(`GET ${path} answers with status ${answer.status}`);
  const value: unknown = await answer.json();
  if (!schema.Check(value))
    throw new FatalError(`GET ${path} does not match the schema that /api gives for it`);
  return value;
}
