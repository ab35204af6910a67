// Prepares the database at the start, then closes hours, writes metrics and prunes tables at intervals.

import { Backoff } from "../../shared/runtime/backoff.ts";
import type { Config } from "../../shared/config/config.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { claimDatabase } from "../../shared/store/database-owner.ts";
import { type ClosedHours, closeHours } from "../../shared/store/hourly.ts";
import { endIdleSnapshots } from "../../shared/store/idle-snapshots.ts";
import { migrate, TablesInUse } from "../../shared/store/migrate.ts";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { insertPipelineMetrics, type MetricSample } from "../../shared/store/pipeline-metrics.ts";
import { LazySession } from "../../shared/store/lazy-session.ts";
import { assertOwnBackend } from "../../shared/store/pooler.ts";
import { assertRights, CONSUMER_RIGHTS } from "../../shared/store/rights.ts";
import type { Session } from "../../shared/store/session.ts";
import { classify, describeFault, describeRefusedLogin } from "../../shared/store/sqlstate.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Pruning } from "./pruning.ts";

/** Time between two log lines about a database that is waited for. */
const WAITING_LOG_MS = 10_000;
/** Time between two probes of a database that failed. */
const PROBE_MS = 2000;
/** Time between two attempts to change tables that others use. Each makes the workers wait for most of a second. */
const TABLES_IN_USE_MS = 5000;

/** A person who reads needs a snapshot for seconds; a program of this application, for half a minute at most. */
const IDLE_SNAPSHOT_SECONDS = 300;

/**
 * The main thread's use of the database: prepares it for the workers, then closes hours, ends forgotten transactions,
 * writes metrics and prunes tables once per FLUSH_INTERVAL_SECONDS. A lost connection is opened again at the next use; nothing is remembered from the old one.
 */
export class Housekeeping {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;
  readonly #session: LazySession;
  readonly #idleSnapshotSeconds: number;
  readonly #pruning: Pruning;
  #timer: Timer | undefined;
  #running: Promise<void> | undefined;
  #isFailing = false;
  /** Once true, what is still due is left to the next consumer. */
  #isStopping = false;
  #fault: string | undefined;
  #probeTimer: Timer | undefined;
  #isProbing = false;

  constructor(
    config: Config,
    log: Logger,
    metrics: MetricsRegistry,
    idleSnapshotSeconds = IDLE_SNAPSHOT_SECONDS,
  ) {
    this.#idleSnapshotSeconds = idleSnapshotSeconds;
    this.#config = config;
    this.#log = log;
    this.#metrics = metrics;
    this.#pruning = new Pruning(config.consumer, log, metrics);
    this.#session = new LazySession({
      database: config.database,
      role: "main",
      consumerGroup: config.kafka.consumerGroup,
      onChange: (connections) => metrics.set("db_connections_active", connections),
    });
  }

  /** Why the database was unreachable at its last use; undefined if it answered. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Waits until the database is reachable, brings its tables up to date and claims it for the consumer group.
   *
   * @returns false if the program was asked to stop first
   * @throws FatalError for a refused login, a missing database, tables that are not ours, or another active group
   */
  async prepare(stop: StopSignal): Promise<boolean> {
    const { host, port } = this.#config.database;
    const backoff = new Backoff(100, 1000);
    let loggedAtMs = Number.NEGATIVE_INFINITY;
    while (!stop.isRequested) {
      try {
        await this.#prepareOnce();
        this.#recordOutcome(undefined);
        return true;
      } catch (error) {
        if (error instanceof FatalError) throw error;
        this.#recordOutcome(error);
        const kind = classify(error);
        if (kind === "access") {
          throw new FatalError(describeRefusedLogin(error, this.#config.database), { cause: error });
        }
        if (kind === "schema" || kind === "content")
          throw new FatalError(this.#unfitTables(error), { cause: error });
        if (kind === "bug") throw error;
        if (performance.now() - loggedAtMs > WAITING_LOG_MS) {
          loggedAtMs = performance.now();
          this.#log.warn({ reason: describeFault(error) }, `waiting for PostgreSQL at ${host}:${port}`);
        }
        const waitMs = error instanceof TablesInUse ? TABLES_IN_USE_MS : backoff.next();
        await Promise.race([Bun.sleep(waitMs), stop.requested]);
      }
    }
    return false;
  }

  /** Runs once per flush interval. A run that takes longer than that is not joined by a second one. */
  start(sample: () => readonly MetricSample[]): void {
    this.#timer = setInterval(() => {
      if (this.#running === undefined) void this.runOnce(sample());
    }, this.#config.consumer.flushIntervalSeconds * 1000);
  }

  stop(): void {
    this.#isStopping = true;
    clearInterval(this.#timer);
  }

  /**
   * Closes the hours that are due and writes the samples, after any run still under way. Never rejects: a failure is
   * logged, and the next run makes up for it.
   */
  async runOnce(samples: readonly MetricSample[]): Promise<void> {
    const run = (this.#running ?? Promise.resolve()).then(() => this.#run(samples));
    this.#running = run;
    await run;
    if (this.#running === run) this.#running = undefined;
  }

  async close(): Promise<void> {
    this.stop();
    clearInterval(this.#probeTimer);
    await this.#session.close();
  }

  async #run(samples: readonly MetricSample[]): Promise<void> {
    const { savePipelineMetrics } = this.#config.consumer;
    try {
      const session = await this.#session.open();
      await this.#closeHours(session);
      await this.#endIdleSnapshots(session);
      if (savePipelineMetrics) {
        await session.run((sql) => insertPipelineMetrics(sql, samples));
        this.#metrics.add("db_inserts_total", samples.length, "pipeline_metrics");
      }
      await this.#pruning.run(session, () => this.#isStopping);
      this.#isFailing = false;
      this.#recordOutcome(undefined);
    } catch (error) {
      this.#recordOutcome(error);
      this.#probeTimer ??= setInterval(() => void this.#probe(), PROBE_MS);
      this.#runFailed(error);
    }
  }

  async #closeHours(session: Session): Promise<void> {
    const { hourGraceMinutes } = this.#config.consumer;
    let rows = 0;
    let closed: ClosedHours | undefined;
    do {
      const after = closed?.last;
      closed = await session.run((sql) => closeHours(sql, hourGraceMinutes, after));
      rows += closed.rows;
      this.#metrics.add("aggregations_flushed_total", closed.rows);
    } while (closed.last !== undefined && !this.#isStopping);
    if (rows > 0) this.#log.info({ rows }, "closed the rows of hours that are over");
  }

  async #endIdleSnapshots(session: Session): Promise<void> {
    for (const ended of await session.run((sql) => endIdleSnapshots(sql, this.#idleSnapshotSeconds))) {
      this.#log.warn(
        { ...ended },
        "ended a session that was idle in a transaction: the snapshot that it held slows every commit",
      );
    }
  }

  #runFailed(error: unknown): void {
    this.#metrics.add("db_insert_errors_total", 1, "pipeline_metrics", classify(error));
    if (!this.#isFailing) {
      this.#log.warn(
        { reason: describeFault(error) },
        "closing hours, writing metrics or pruning tables failed; retrying",
      );
    }
    this.#isFailing = true;
  }

  /** @param error of the last use of the database; undefined if it answered */
  #recordOutcome(error: unknown): void {
    const { host, port } = this.#config.database;
    const kind = error === undefined ? undefined : classify(error);
    const isUnreachable = kind === "connection" || kind === "access";
    this.#fault = isUnreachable ? `${describeFault(error)} (${host}:${port})` : undefined;
    if (isUnreachable) return;
    clearInterval(this.#probeTimer);
    this.#probeTimer = undefined;
  }

  /** Finds out that the database is back: the next run may be far off, and the fault would stand until then. */
  async #probe(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    try {
      const session = await this.#session.open();
      await session.run((sql) => sql`select 1`);
      this.#recordOutcome(undefined);
    } catch (error) {
      this.#recordOutcome(error);
    } finally {
      this.#isProbing = false;
    }
  }

  #unfitTables(error: unknown): string {
    const { host, port, name } = this.#config.database;
    return `the tables in database "${name}" at ${host}:${port} are not as this version expects them: ${describeFault(error)}`;
  }

  async #prepareOnce(): Promise<void> {
    const { consumerGroup } = this.#config.kafka;
    const session = await this.#session.open();
    await assertOwnBackend(session, this.#config.database, { role: "main", consumerGroup });
    const { applied, newer } = await migrate(session.sql, await readMigrations());
    if (applied.length > 0) this.#log.info({ applied }, "brought the tables up to date");
    if (newer.length > 0) {
      this.#log.warn({ newer }, "a newer version has changed the tables; this version works with them");
    }
    await assertRights(session.sql, CONSUMER_RIGHTS);
    await this.#pruning.assertRights(session);
    const { previousGroup } = await claimDatabase(session.sql, consumerGroup);
    if (previousGroup !== undefined) {
      this.#log.warn(
        { previousGroup, consumerGroup },
        "took the database over from another consumer group, and continues where that group stopped",
      );
    }
  }
}
