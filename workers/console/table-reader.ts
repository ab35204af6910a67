// A database in; what the console shows of its tables out, never older than it must be, and nothing unless asked.

import { previewOf } from "../../shared/console/payload-preview.ts";
import type { DeadLetterKey } from "../../shared/console/routes.tsx";
import type { DeadLetter, DeadLetters, Hours, Ledger, Source } from "../../shared/api-schema.ts";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import {
  type DeadLetterRow,
  type HourTypeRow,
  type PartitionAccount,
  readAccounts,
  readDeadLetter,
  readHours,
  readNewestDeadLetters,
} from "../../shared/store/read-model.ts";
import { LazySession } from "../../shared/store/lazy-session.ts";
import type { Transaction } from "../../shared/store/session.ts";
import { describeFault } from "../../shared/store/sqlstate.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

/** A page that looks every second shall not cost a slow database more than a tenth of its time. */
const FRESH_MS = 900;
const MOST_OF_THE_TIME = 10;
const DEADLINE_MS = 3000;
/** How often a database that is away is tried. */
const RETRY_MS = 2000;
/** Nobody looks any more: the connection is given back. */
const IDLE_MS = 60_000;

export interface StoredFiguresOptions {
  readonly database: DatabaseConfig;
  readonly consumerGroup: string;
  readonly metrics: MetricsRegistry;
}

/** One read-only connection, the second of the main thread's two, opened when somebody looks. */
export class StoredFigures {
  readonly #options: StoredFiguresOptions;
  readonly #session: LazySession;
  #source: Source = { state: "waiting", sinceMs: Date.now(), readAtMs: null, reason: null };
  #readAtMs: number | null = null;
  #accounts: readonly PartitionAccount[] = [];
  #hours: readonly HourTypeRow[] = [];
  #deadLetters: readonly DeadLetterRow[] = [];
  #dueAtMs = 0;
  #reading: Promise<void> | undefined;

  constructor(options: StoredFiguresOptions) {
    this.#options = options;
    const { database, consumerGroup } = options;
    this.#session = new LazySession({
      database,
      role: "console",
      consumerGroup,
      idleMs: IDLE_MS,
      onChange: (connections) => this.#countConnections(connections),
    });
  }

  get source(): Source {
    return this.#source;
  }

  /** Reads the tables where what is known is old, once for all who ask at the same time; never rejects. */
  async refresh(): Promise<void> {
    if (this.#reading === undefined) {
      if (performance.now() < this.#dueAtMs) return;
      this.#reading = this.#read().finally(() => {
        this.#reading = undefined;
      });
    }
    await this.#reading;
  }

  ledger(): Ledger {
    const partitions = this.#accounts.map((account) => ({ ...account, balances: balances(account) }));
    const sum = (of: (account: PartitionAccount) => number): number =>
      this.#accounts.reduce((total, account) => total + of(account), 0);
    return {
      database: this.#source,
      balances: partitions.every((account) => account.balances),
      totals: {
        consumed: sum(({ consumed }) => consumed),
        skipped: sum(({ skipped }) => skipped),
        stored: sum(({ stored }) => stored),
        duplicates: sum(({ duplicates }) => duplicates),
        deadLettered: sum(({ deadLettered }) => deadLettered),
      },
      partitions,
    };
  }

  hours(): Hours {
    const byHour = Map.groupBy(this.#hours, ({ startMs }) => startMs);
    return {
      database: this.#source,
      hours: [...byHour].map(([startMs, rows]) => {
        const types = rows.filter((row) => row.eventType !== null);
        const others = rows.find((row) => row.eventType === null);
        return {
          startMs,
          isClosed: rows.every(({ isClosed }) => isClosed),
          types: types.map(({ eventType, events, uniqueUsers, averageSeconds, lateEvents }) => ({
            eventType: eventType ?? "",
            events,
            uniqueUsers,
            averageSeconds,
            lateEvents,
          })),
          others: others === undefined ? null : { types: others.types, events: others.events },
        };
      }),
    };
  }

  deadLetters(): DeadLetters {
    const byReason = this.#options.metrics
      .values("dead_letter_events_total")
      .map(({ labels: [reason = ""], value }) => ({ reason, count: value }))
      .filter(({ count }) => count > 0);
    return {
      database: this.#source,
      total: this.ledger().totals.deadLettered,
      byReason: byReason.toSorted((a, b) => b.count - a.count || a.reason.localeCompare(b.reason)),
      newest: this.#deadLetters.map(shownDeadLetter),
    };
  }

  /** @throws what the driver throws while PostgreSQL is away */
  async deadLetter(key: DeadLetterKey): Promise<DeadLetter | undefined> {
    const row = await this.#transaction((tx) => readDeadLetter(tx, key));
    if (row === undefined) return undefined;
    return {
      ...shownDeadLetter(row),
      key: previewOf(row.key, row.keyBytes),
      headers: previewOf(row.headers, row.headersBytes),
    };
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #read(): Promise<void> {
    const startMs = performance.now();
    try {
      await this.#transaction(async (tx) => {
        const accounts = await readAccounts(tx);
        const hours = await readHours(tx);
        this.#deadLetters = await readNewestDeadLetters(tx);
        this.#accounts = accounts;
        this.#hours = hours;
      });
      this.#readAtMs = Date.now();
      this.#become("current", null);
      const tookMs = performance.now() - startMs;
      this.#dueAtMs = startMs + Math.max(FRESH_MS, tookMs * MOST_OF_THE_TIME);
    } catch (error) {
      this.#become("away", describeFault(error));
      this.#dueAtMs = performance.now() + RETRY_MS;
    }
  }

  /** One snapshot of the tables, so that the figures agree with each other. */
  async #transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    const session = await this.#session.open();
    return await session.transaction(DEADLINE_MS, async (tx) => {
      await tx`set transaction isolation level repeatable read read only`;
      return await body(tx);
    });
  }

  #countConnections(connections: number): void {
    const gauges = [["db_connections_active", [], connections]] as const;
    this.#options.metrics.merge({ counters: [], histograms: [], gauges }, "console");
  }

  #become(state: Source["state"], reason: string | null): void {
    const sinceMs = this.#source.state === state ? this.#source.sinceMs : Date.now();
    this.#source = { state, sinceMs, readAtMs: state === "away" ? this.#readAtMs : null, reason };
  }
}

function balances(account: PartitionAccount): boolean {
  const { firstOffset, nextOffset, consumed, skipped, stored, duplicates, deadLettered } = account;
  return consumed === stored + duplicates + deadLettered && nextOffset - firstOffset === consumed + skipped;
}

function shownDeadLetter({ value, valueBytes, ...row }: DeadLetterRow): DeadLetters["newest"][number] {
  const { topic, topicId, partition, offset, stage, reason, error, firstSeenAtMs } = row;
  return {
    topic,
    topicId,
    partition,
    offset,
    stage,
    reason,
    error,
    firstSeenAtMs,
    value: previewOf(value, valueBytes),
  };
}
