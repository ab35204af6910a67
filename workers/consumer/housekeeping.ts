// The main thread's connection: waits for the database, prepares it, then closes hours and writes metrics.

import { Backoff } from "../../shared/runtime/backoff.ts";
import type { Config } from "../../shared/config/config.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import type { StopSignal } from "../../shared/runtime/lifecycle.ts";
import { claimDatabase } from "../../shared/store/database-owner.ts";
import { closeHours } from "../../shared/store/hourly.ts";
import { migrate, readMigrations } from "../../shared/store/migrate.ts";
import { insertPipelineMetrics, type MetricSample } from "../../shared/store/pipeline-metrics.ts";
import { LazySession } from "../../shared/store/lazy-session.ts";
import { classify, describeFault, describeRefusedLogin } from "../../shared/store/sqlstate.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

/** How often "still waiting" is said. */
const SAY_WAITING_EVERY_MS = 10_000;
/** How often a database that was away is asked whether it is back. */
const ASK_AGAIN_MS = 2000;

/** The database as the main thread uses it; a lost connection is renewed at the next use, for it holds no memory. */
export class Housekeeping {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;
  readonly #session: LazySession;
  #isFailing = false;
  #fault: string | undefined;
  #askAgain: Timer | undefined;
  #isAsking = false;

  constructor(config: Config, log: Logger, metrics: MetricsRegistry) {
    this.#config = config;
    this.#log = log;
    this.#metrics = metrics;
    this.#session = new LazySession({
      database: config.database,
      role: "main",
      consumerGroup: config.kafka.consumerGroup,
      onChange: (connections) => metrics.set("db_connections_active", connections),
    });
  }

  /** Why the database cannot be had; undefined: it answered when it was last asked. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /**
   * Waits until the database can be had, brings its tables up to date and takes it for the consumer group.
   *
   * @returns false where the program was asked to stop meanwhile
   * @throws FatalError for a refused login, a missing database, tables made by other hands, another group at work
   */
  async prepare(stop: StopSignal): Promise<boolean> {
    const { host, port } = this.#config.database;
    const backoff = new Backoff(100, 1000);
    let saidAtMs = Number.NEGATIVE_INFINITY;
    while (!stop.isRequested) {
      try {
        await this.#prepareOnce();
        this.#note(undefined);
        return true;
      } catch (error) {
        if (error instanceof FatalError) throw error;
        this.#note(error);
        const kind = classify(error);
        if (kind === "access") {
          throw new FatalError(describeRefusedLogin(error, this.#config.database), { cause: error });
        }
        if (kind === "bug" || kind === "schema") throw error;
        if (performance.now() - saidAtMs > SAY_WAITING_EVERY_MS) {
          saidAtMs = performance.now();
          this.#log.warn({ reason: describeFault(error) }, `waiting for PostgreSQL at ${host}:${port}`);
        }
        await Promise.race([Bun.sleep(backoff.next()), stop.requested]);
      }
    }
    return false;
  }

  /** Closes the hours that are due, and writes a row for each of the samples; a failure is logged, and mended next time. */
  async housekeep(samples: readonly MetricSample[]): Promise<void> {
    const { hourGraceMinutes, savePipelineMetrics } = this.#config.consumer;
    try {
      const session = await this.#session.open();
      const closed = await session.run((sql) => closeHours(sql, hourGraceMinutes));
      this.#metrics.add("aggregations_flushed_total", closed);
      if (closed > 0) this.#log.info({ rows: closed }, "closed the rows of hours that are over");
      if (savePipelineMetrics) {
        await session.run((sql) => insertPipelineMetrics(sql, samples));
        this.#metrics.add("db_inserts_total", samples.length, "pipeline_metrics");
      }
      this.#isFailing = false;
      this.#note(undefined);
    } catch (error) {
      this.#note(error);
      this.#askAgain ??= setInterval(() => void this.#ask(), ASK_AGAIN_MS);
      const kind = classify(error);
      this.#metrics.add("db_insert_errors_total", 1, "pipeline_metrics", kind);
      if (!this.#isFailing)
        this.#log.warn({ reason: describeFault(error) }, "closing hours and writing metrics has to wait");
      this.#isFailing = true;
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#askAgain);
    await this.#session.close();
  }

  /** @param error of the last use of the database; undefined: it answered */
  #note(error: unknown): void {
    const { host, port } = this.#config.database;
    const isAway = error !== undefined && classify(error) === "connection";
    this.#fault = isAway ? `${describeFault(error)} (${host}:${port})` : undefined;
    if (isAway) return;
    clearInterval(this.#askAgain);
    this.#askAgain = undefined;
  }

  /** The next use may be far off, and the fault would stand until then. */
  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const session = await this.#session.open();
      await session.run((sql) => sql`select 1`);
      this.#note(undefined);
    } catch (error) {
      this.#note(error);
    } finally {
      this.#isAsking = false;
    }
  }

  async #prepareOnce(): Promise<void> {
    const { consumerGroup } = this.#config.kafka;
    const session = await this.#session.open();
    const applied = await migrate(session.sql, await readMigrations());
    if (applied.length > 0) this.#log.info({ applied }, "brought the tables up to date");
    const { previousGroup } = await claimDatabase(session.sql, consumerGroup);
    if (previousGroup !== undefined) {
      this.#log.warn(
        { previousGroup, consumerGroup },
        "took the database over from another consumer group; it goes on where that one stopped",
      );
    }
  }
}
