// Tests that forgotten transactions end: a snapshot that is left open slows every commit.
import { expect, test } from "bun:test";
import postgres from "postgres";
import { loadConfig } from "../../shared/config/config.ts";
import { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { endIdleSnapshots } from "../../shared/store/idle-snapshots.ts";
import { makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { Housekeeping } from "../../workers/consumer/housekeeping.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { openSession, pipelineDatabase } from "./pipeline-database.ts";

/** A connection that stands for a person's; PostgreSQL may end it. */
async function person(database: TestDatabase, ...statements: string[]) {
  const { host, port, user, password } = database.address;
  const sql = postgres({
    host,
    port,
    username: user,
    password,
    database: database.name,
    max: 1,
    onnotice() {},
  });
  const [row] = await sql<[{ pid: number }]>`select pg_backend_pid() as pid`;
  for (const statement of statements) await sql.unsafe(statement);
  return { sql, pid: row.pid, end: () => sql.end({ timeout: 0 }) };
}

const SNAPSHOT = ["begin isolation level repeatable read", "select count(*) from raw_events"];
const WRITE = ["begin", "create temporary table forgotten (a int)"];

test("sessions that are idle in a transaction with a snapshot end, and no others", async () => {
  await using database = await pipelineDatabase();
  const reader = await person(database, ...SNAPSHOT);
  const writer = await person(database, ...WRITE);
  const harmless = await person(database, "begin", "select 1");
  const busy = await person(database, "begin isolation level repeatable read");
  const dump = busy.sql.unsafe("select count(*), pg_sleep(600) from raw_events").catch(() => undefined);
  await eventually("the dump reads", async () => {
    const [row] = await database.sql`select state from pg_stat_activity where pid = ${busy.pid}`;
    return row?.["state"] === "active";
  });
  const session = await openSession(database);
  const ended: number[] = [];
  await eventually("both are ended", async () => {
    ended.push(...(await endIdleSnapshots(session.sql, 0)).map(({ pid }) => pid));
    return ended.length >= 2;
  });
  expect(new Set(ended)).toEqual(new Set([reader.pid, writer.pid]));
  await eventually("they are gone", async () => {
    const rows = await database.sql`select from pg_stat_activity where pid in (${reader.pid}, ${writer.pid})`;
    return rows.length === 0;
  });
  expect((await harmless.sql`select 2 as two`)[0]).toEqual({ two: 2 });
  const [row] = await database.sql`select state from pg_stat_activity where pid = ${busy.pid}`;
  expect(row?.["state"]).toBe("active");
  await database.sql`select pg_terminate_backend(${busy.pid})`;
  await dump;
  await Promise.all([reader, writer, harmless, busy].map((each) => each.end()));
  await session.close();
});

test("a session that is idle for less than the limit is left alone", async () => {
  await using database = await pipelineDatabase();
  const reader = await person(database, ...SNAPSHOT);
  await eventually("it is idle", async () => {
    const [row] = await database.sql`select state from pg_stat_activity where pid = ${reader.pid}`;
    return row?.["state"] === "idle in transaction";
  });
  const session = await openSession(database);
  expect(await endIdleSnapshots(session.sql, 3600)).toEqual([]);
  await session.close();
  await reader.sql`commit`;
  await reader.end();
});

test("a role that may not end a session leaves it alone", async () => {
  await using database = await pipelineDatabase();
  const role = `limited_${crypto.randomUUID().replaceAll("-", "")}`;
  await database.sql.unsafe(`create role ${role}`);
  const reader = await person(database, ...SNAPSHOT);
  const limited = await openSession(database);
  await limited.sql.unsafe(`set session authorization ${role}`);
  expect(await endIdleSnapshots(limited.sql, 0)).toEqual([]);
  await reader.sql`commit`;
  await Promise.all([reader.end(), limited.close()]);
  await database.sql.unsafe(`drop role ${role}`);
});

test("the consumer ends them once in each flush interval, and says whose session it was", async () => {
  await using database = await pipelineDatabase();
  const lines: string[] = [];
  const log = makeLogger("test", "warn", { destination: { write: (line) => void lines.push(line) } });
  const config = loadConfig(database.env, "consumer");
  const housekeeping = new Housekeeping(config, log, new MetricsRegistry(), 0);
  expect(await housekeeping.prepare(new StopSignal())).toBe(true);
  const reader = await person(database, "set application_name = 'forgotten psql'", ...SNAPSHOT);
  await eventually("the log says so", async () => {
    await housekeeping.runOnce([]);
    return lines.some((line) => line.includes("forgotten psql"));
  });
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({
    pid: reader.pid,
    application: "forgotten psql",
    msg: "ended a session that was idle in a transaction: the snapshot that it held slows every commit",
  });
  await housekeeping.close();
  await reader.end();
});
