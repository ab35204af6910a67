import { expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { TableReader } from "../../workers/console/table-reader.ts";
import { startPostgres } from "../support/postgres.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";

const NOWHERE = { topic: "none", topicId: "none", partition: 0, reading: 0, offset: 0 };

test("a table reader shares one connection among its callers, and does not count a connection that is lost", async () => {
  await using server = await startPostgres();
  await using pipelineTables = await server.database();
  await migrateDatabase(pipelineTables);
  const metrics = new MetricsRegistry();
  const { database } = loadConfig(pipelineTables.env, "consumer");
  const tables = new TableReader({ database, consumerGroup: "group", metrics });
  const connections = () => metrics.total("db_connections_active");

  await Promise.all([tables.refresh(), tables.deadLetter(NOWHERE), tables.deadLetter(NOWHERE)]);
  expect(tables.ledger().database.state).toBe("current");
  const [row] = await pipelineTables.sql`
    select count(*)::int as sessions from pg_stat_activity
    where datname = current_database() and application_name like 'event-pipeline console %'`;
  expect(row).toEqual({ sessions: 1 });
  expect(connections()).toBe(1);

  await server.signal("STOP");
  expect(await tables.deadLetter(NOWHERE).catch((error: Error) => error.message)).toContain("not answered");
  expect(connections()).toBe(0);
  await server.signal("CONT");
  expect(await tables.deadLetter(NOWHERE)).toBeUndefined();
  expect(connections()).toBe(1);
  await tables.close();
  expect(connections()).toBe(0);
}, 60_000);

test("a table reader has ledger and dead letters also while the hours cannot be read in time", async () => {
  await using server = await startPostgres();
  await using pipelineTables = await server.database();
  await migrateDatabase(pipelineTables);
  const { database } = loadConfig(pipelineTables.env, "consumer");
  const tables = new TableReader({ database, consumerGroup: "group", metrics: new MetricsRegistry() });
  // Every statement on the hours takes longer than it may.
  const held = Promise.withResolvers<void>();
  const locked = Promise.withResolvers<void>();
  const holding = pipelineTables.sql.begin(async (tx) => {
    await tx`lock table hourly_aggregations in access exclusive mode`;
    locked.resolve();
    await held.promise;
  });
  await locked.promise;
  await tables.refresh();
  expect(tables.ledger().database.state).toBe("current");
  expect(tables.deadLetters().database.state).toBe("current");
  expect(tables.hours().database).toMatchObject({
    state: "away",
    reason: expect.stringContaining("timeout"),
  });
  held.resolve();
  await holding;
  await tables.close();
}, 60_000);
