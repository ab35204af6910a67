// Reads the tables for the console, no more often than needed, and only while somebody watches.

import type {
  DeadLetter,
  DeadLetterKey,
  DeadLetters,
  Hours,
  Ledger,
  Source,
} from "../../shared/api-schema.ts";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import { LazySession } from "../../shared/store/lazy-session.ts";
import { readDeadLetter, readTables, type Tables } from "../../shared/store/read-model.ts";
import type { Transaction } from "../../shared/store/session.ts";
import { describeFault } from "../../shared/store/sqlstate.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

/** The page updates every second. */
const FRESH_MS = 900;
/** The interval between reads is this many times as long as a read: a slow database must not spend its time on them. */
const MIN_INTERVAL_PER_READ = 10;
const DEADLINE_MS = 3000;
/** How often a read is retried while PostgreSQL is away. */
const RETRY_MS = 2000;
/** The connection closes after this long without a reader. */
const IDLE_MS = 60_000;

const NOTHING: Tables = {
  ledger: {
    balances: true,
    totals: { consumed: 0, deleted: 0, gaps: 0, stored: 0, duplicates: 0, deadLettered: 0 },
    partitions: [],
  },
  hours: [],
  newestDeadLetters: [],
};

export interface TableReaderOptions {
  readonly database: DatabaseConfig;
  readonly consumerGroup: string;
  readonly metrics: MetricsRegistry;
}

/** Uses one read-only connection, the second of the main thread's two, which the first read opens. */
export class TableReader {
  readonly #options: TableReaderOptions;
  readonly #session: LazySession;
  #source: Source = { state: "waiting", sinceMs: Date.now(), readAtMs: null, reason: null };
  #readAtMs: number | null = null;
  #tables = NOTHING;
  #dueAtMs = 0;
  #reading: Promise<void> | undefined;

  constructor(options: TableReaderOptions) {
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

  /** Reads the tables if the last read is old; callers at the same time share one read. Never rejects. */
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
    return { database: this.#source, ...this.#tables.ledger };
  }

  hours(): Hours {
    return { database: this.#source, hours: this.#tables.hours };
  }

  deadLetters(): DeadLetters {
    const byReason = this.#options.metrics
      .values("dead_letter_events_total")
      .map(({ labels: [reason = ""], value }) => ({ reason, count: value }))
      .filter(({ count }) => count > 0);
    return {
      database: this.#source,
      total: this.#tables.ledger.totals.deadLettered,
      byReason: byReason.toSorted((a, b) => b.count - a.count || a.reason.localeCompare(b.reason)),
      newest: this.#tables.newestDeadLetters,
    };
  }

  /** @throws what the driver throws while PostgreSQL is away */
  async deadLetter(key: DeadLetterKey): Promise<DeadLetter | undefined> {
    return await this.#transaction((tx) => readDeadLetter(tx, key));
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #read(): Promise<void> {
    const startMs = performance.now();
    try {
      this.#tables = await this.#transaction(readTables);
      this.#readAtMs = Date.now();
      this.#setSource("current", null);
      const tookMs = performance.now() - startMs;
      this.#dueAtMs = startMs + Math.max(FRESH_MS, tookMs * MIN_INTERVAL_PER_READ);
    } catch (error) {
      this.#setSource("away", describeFault(error));
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

  #setSource(state: Source["state"], reason: string | null): void {
    const sinceMs = this.#source.state === state ? this.#source.sinceMs : Date.now();
    this.#source = { state, sinceMs, readAtMs: state === "away" ? this.#readAtMs : null, reason };
  }
}
