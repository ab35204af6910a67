import { expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { StoredFigures } from "../../workers/console/table-reader.ts";
import { PostgresServer } from "../support/postgres.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";

const NOWHERE = { topic: "none", topicId: "none", partition: 0, offset: 0 };

test("all who ask share one connection, and one that is ended is not counted any more", async () => {
  await using server = await PostgresServer.start();
  await using tables = await server.database();
  await migrateDatabase(tables);
  const metrics = new MetricsRegistry();
  const { database } = loadConfig(tables.env, "consumer");
  const figures = new StoredFigures({ database, consumerGroup: "group", metrics });
  const connections = () => metrics.value("db_connections_active");

  await Promise.all([figures.refresh(), figures.deadLetter(NOWHERE), figures.deadLetter(NOWHERE)]);
  expect(figures.source.state).toBe("current");
  const [row] = await tables.sql`
    select count(*)::int as sessions from pg_stat_activity
    where datname = current_database() and application_name like 'event-pipeline console %'`;
  expect(row).toEqual({ sessions: 1 });
  expect(connections()).toBe(1);

  await server.signal("STOP");
  expect(await figures.deadLetter(NOWHERE).catch((error: Error) => error.message)).toContain("not answered");
  expect(connections()).toBe(0);
  await server.signal("CONT");
  expect(await figures.deadLetter(NOWHERE)).toBeUndefined();
  expect(connections()).toBe(1);
  await figures.close();
  expect(connections()).toBe(0);
}, 60_000);
