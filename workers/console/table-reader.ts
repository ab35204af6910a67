// Reads the tables for the console, no more often than needed, and only while somebody watches.

import type { DeadLetter, DeadLetterKey, DeadLetters, Hours, Ledger } from "../../shared/api-schema.ts";
import type { DatabaseConfig } from "../../shared/config/config.ts";
import { LazySession } from "../../shared/store/lazy-session.ts";
import {
  readDeadLetter,
  readHours,
  readLedger,
  readNewestDeadLetters,
} from "../../shared/store/read-model.ts";
import type { Transaction } from "../../shared/store/session.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { TableSource } from "./table-source.ts";

/** Longer than the two seconds that the server gives to a statement of the console. */
const DEADLINE_MS = 3000;
/** The connection closes after this long without a reader. */
const IDLE_MS = 60_000;

const NO_LEDGER: Omit<Ledger, "database"> = {
  balances: true,
  totals: {
    consumed: 0,
    deleted: 0,
    gaps: 0,
    stored: 0,
    duplicates: 0,
    deadLettered: 0,
    discarded: 0,
    replayed: 0,
  },
  partitions: [],
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
  /** Of ledger and dead letters, which are found by keys. */
  readonly #source = new TableSource();
  /** Of the hours, which take the longer to read the more event types there are. */
  readonly #hoursSource = new TableSource();
  #ledger = NO_LEDGER;
  #newestDeadLetters: DeadLetters["newest"] = [];
  #hours: Hours["hours"] = [];
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
      if (!this.#source.isDue()) return;
      this.#reading = this.#read().finally(() => {
        this.#reading = undefined;
      });
    }
    await this.#reading;
  }

  ledger(): Ledger {
    return { database: this.#source.state, ...this.#ledger };
  }

  hours(): Hours {
    return { database: this.#hoursSource.state, hours: this.#hours };
  }

  deadLetters(): DeadLetters {
    const byReason = this.#options.metrics
      .values("dead_letter_events_total")
      .map(({ labels: [reason = ""], value }) => ({ reason, count: value }))
      .filter(({ count }) => count > 0);
    const { deadLettered, discarded, replayed } = this.#ledger.totals;
    return {
      database: this.#source.state,
      total: deadLettered,
      discarded,
      replayed,
      byReason: byReason.toSorted((a, b) => b.count - a.count || a.reason.localeCompare(b.reason)),
      newest: this.#newestDeadLetters,
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
      await this.#transaction(async (tx) => {
        this.#ledger = await readLedger(tx);
        this.#newestDeadLetters = await readNewestDeadLetters(tx);
        this.#source.succeeded(startMs);
        if (this.#hoursSource.isDue()) await this.#readHours(tx);
      });
    } catch (error) {
      this.#source.failed(error);
      this.#hoursSource.failed(error);
    }
  }

  /** Last, and in a savepoint: hours that cannot be read in time must not take the other figures with them. */
  async #readHours(tx: Transaction): Promise<void> {
    const startMs = performance.now();
    try {
      this.#hours = await tx.savepoint(readHours);
      this.#hoursSource.succeeded(startMs);
    } catch (error) {
      // A lost connection also ends the transaction.
      this.#hoursSource.refused(startMs, error);
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
}
