import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Housekeeping } from "../../workers/consumer/housekeeping.ts";
import { eventually } from "../support/eventually.ts";
import { startPostgres } from "../support/postgres.ts";

const UNTIL_BACK = { timeoutMs: 30_000 };

function housekeepingOf(env: Readonly<Record<string, string>>) {
  const metrics = new MetricsRegistry();
  const log = makeLogger("test", "error", { destination: { write: () => undefined } });
  return { metrics, housekeeping: new Housekeeping(loadConfig(env, "consumer"), log, metrics) };
}

describe("housekeeping", () => {
  test("reports an unreachable database as its fault until the database is back, also between two runs", async () => {
    await using server = await startPostgres();
    await using tables = await server.database();
    const { housekeeping } = housekeepingOf(tables.env);
    await server.stop("fast");
    const preparing = housekeeping.prepare(new StopSignal());
    await eventually("the start reports it", () => housekeeping.fault !== undefined, UNTIL_BACK);
    await server.start();
    expect(await preparing).toBe(true);
    expect(housekeeping.fault).toBeUndefined();

    await server.stop("fast");
    await housekeeping.runOnce([]);
    expect(housekeeping.fault).toEndWith(`(${tables.address.host}:${tables.address.port})`);
    await server.start();
    await housekeeping.runOnce([]);
    expect(housekeeping.fault).toBeUndefined();

    await server.stop("fast");
    await housekeeping.runOnce([]);
    expect(housekeeping.fault).toBeDefined();
    await server.start();
    await eventually("a probe finds it back", () => housekeeping.fault === undefined, UNTIL_BACK);
    await housekeeping.close();
  }, 120_000);

  test("closes very many hours in one run, and after a stop leaves the rest to the next consumer", async () => {
    await using server = await startPostgres();
    await using tables = await server.database();
    const { metrics, housekeeping } = housekeepingOf(tables.env);
    expect(await housekeeping.prepare(new StopSignal())).toBe(true);
    const open = async (): Promise<number> => {
      const [row] =
        await tables.sql`select count(*)::int as rows from hourly_aggregations where closed_at is null`;
      return Number(row!["rows"]);
    };
    const addHours = async (hour: string): Promise<unknown> =>
      await tables.sql`
        insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
          duration_count, unsaved_events, late_events)
        select ${hour}::timestamptz, 'type ' || n, 1, 1, 0, 0, 0, 0 from generate_series(1, 50000) n`;
    await addHours("2026-03-14T09:00:00Z");
    await housekeeping.runOnce([]);
    expect(await open()).toBe(0);
    expect(metrics.total("aggregations_flushed_total")).toBe(50_000);

    await addHours("2026-03-14T10:00:00Z");
    housekeeping.stop();
    await housekeeping.runOnce([]);
    const left = await open();
    expect(left).toBeGreaterThan(0);
    expect(metrics.total("aggregations_flushed_total")).toBe(100_000 - left);
    await housekeeping.close();
  }, 120_000);

  test("never has two runs on its connection at the same time", async () => {
    await using server = await startPostgres();
    await using tables = await server.database();
    const { metrics, housekeeping } = housekeepingOf({ ...tables.env, FLUSH_INTERVAL_SECONDS: "1" });
    expect(await housekeeping.prepare(new StopSignal())).toBe(true);
    const sample = { name: "events_consumed_total", value: 1, labels: {} };
    const written = () => metrics.total("db_inserts_total");
    let sampled = 0;
    await tables.sql.begin(async (tx) => {
      await tx`lock table pipeline_metrics in access exclusive mode`;
      housekeeping.start(() => {
        sampled++;
        return [sample];
      });
      await eventually("a run waits for the lock", async () => {
        const [row] = await tx`
          select count(*)::int as waiting from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`;
        return row?.["waiting"] === 1;
      });
      // A timer of the same interval in the same thread: its ticks are those of the housekeeping.
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1000);
      await eventually("three intervals have passed", () => ticks === 3, UNTIL_BACK);
      clearInterval(timer);
      expect(sampled).toBe(1);
    });
    await eventually("the next interval starts another run", () => sampled > 1, UNTIL_BACK);
    housekeeping.stop();
    await Promise.all([housekeeping.runOnce([sample]), housekeeping.runOnce([sample])]);
    expect(written()).toBe(sampled + 2);
    await housekeeping.close();
  }, 60_000);
});
