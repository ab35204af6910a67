import { expect, test } from "bun:test";
import { loadConfig } from "../../shared/config/config.ts";
import { StopSignal } from "../../shared/runtime/lifecycle.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Housekeeping } from "../../workers/consumer/housekeeping.ts";
import { eventually } from "../support/eventually.ts";
import { PostgresServer } from "../support/postgres.ts";

test("a database that is away is a fault until it is back, which is found out without another use of it", async () => {
  await using server = await PostgresServer.start();
  await using tables = await server.database();
  const metrics = new MetricsRegistry();
  const log = makeLogger("test", "error", { destination: { write: () => undefined } });
  const database = new Housekeeping(loadConfig(tables.env, "consumer"), log, metrics);
  await server.stop("fast");
  const preparing = database.prepare(new StopSignal());
  await eventually("it is missed at the start", () => database.fault !== undefined);
  await server.start();
  expect(await preparing).toBe(true);
  expect(database.fault).toBeUndefined();

  await server.stop("fast");
  await Promise.all([database.housekeep([]), database.housekeep([])]);
  expect(database.fault).toEndWith(`(${tables.address.host}:${tables.address.port})`);
  await server.start();
  // Both find the connection gone, and open one between them.
  await Promise.all([database.housekeep([]), database.housekeep([])]);
  expect(database.fault).toBeUndefined();
  const [row] = await tables.sql`
    select count(*)::int as sessions from pg_stat_activity
    where datname = current_database() and application_name like 'event-pipeline main %'`;
  expect(row).toEqual({ sessions: 1 });

  await server.stop("fast");
  await database.housekeep([]);
  expect(database.fault).toBeDefined();
  await server.start();
  await eventually("it is found back", () => database.fault === undefined);
  await database.close();
}, 60_000);
