// Prunes the tables that have a retention, and reports what was deleted and how far it is behind.

import type { ConsumerConfig } from "../../shared/config/config.ts";
import { hasRetention } from "../../shared/config/consumer-config.ts";
import { readBehind } from "../../shared/store/retention/behind.ts";
import type { RetentionDays } from "../../shared/store/retention/cutoff.ts";
import { Retention } from "../../shared/store/retention/retention.ts";
import { assertPruningRights } from "../../shared/store/rights.ts";
import type { Session } from "../../shared/store/session.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

/** What one run may take: then hours are closed and metrics written again. */
const RUN_MS = 30_000;

export class Pruning {
  readonly #isOn: boolean;
  readonly #days: RetentionDays;
  readonly #retention: Retention;
  readonly #log: Logger;
  readonly #metrics: MetricsRegistry;

  constructor(config: ConsumerConfig, log: Logger, metrics: MetricsRegistry) {
    this.#isOn = hasRetention(config);
    this.#days = {
      rawEvents: config.rawEventsDays,
      hourlyUsers: config.hourlyUsersDays,
      deadLetters: config.deadLettersDays,
      pipelineMetrics: config.pipelineMetricsDays,
    };
    this.#retention = new Retention(this.#days);
    this.#log = log;
    this.#metrics = metrics;
  }

  /** @throws FatalError where the role may not delete */
  async assertRights({ sql }: Session): Promise<void> {
    if (this.#isOn) await assertPruningRights(sql);
  }

  /** Deletes what is due for some seconds; the next run goes on. */
  async run(session: Session, isStopping: () => boolean): Promise<void> {
    if (!this.#isOn) return;
    const endsAtMs = performance.now() + RUN_MS;
    const rows: Record<string, number> = {};
    let steps = 0;
    let longest = 0;
    try {
      await this.#retention.run(session, {
        isToStop: () => isStopping() || performance.now() > endsAtMs,
        onStep: (table, deleted, seconds) => {
          steps++;
          longest = Math.max(longest, seconds);
          this.#metrics.observe("retention_step_duration_seconds", seconds);
          if (table === "sealed_hours" || deleted === 0) return;
          rows[table] = (rows[table] ?? 0) + deleted;
          this.#metrics.add("retention_pruned_rows_total", deleted, table);
        },
      });
    } finally {
      if (Object.keys(rows).length > 0) {
        const longestMs = Math.round(longest * 1000);
        this.#log.info({ ...rows, steps, longestMs }, "deleted rows that were past their retention");
      }
    }
    for (const [table, seconds] of await session.run((sql) => readBehind(sql, this.#days))) {
      this.#metrics.set("retention_behind_seconds", seconds, table);
    }
  }
}
