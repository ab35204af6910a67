// Connects through PgBouncer, in each of its modes.
import { describe, expect, setDefaultTimeout } from "bun:test";
import { claimDatabase } from "../../shared/store/database-owner.ts";
import { checkDatabase } from "../../shared/store/check/check.ts";
import { assertOwnBackend } from "../../shared/store/pooler.ts";
import type { SessionOptions } from "../../shared/store/session.ts";

import { classify } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import { eventText } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import { startPgBouncer } from "../support/pgbouncer.ts";
import { type PostgresAddress, sharedPostgres, type TestDatabase } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { rejection } from "../support/rejection.ts";
import { poolerTest } from "../support/requirements.ts";
import { setHostileSettings } from "./hostile-settings.ts";
import {
  backends,
  batchFrom,
  emptyDatabase,
  enter,
  GROUP,
  migrateDatabase,
  openSession,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

setDefaultTimeout(60_000);

const MAIN: SessionOptions = { role: "main", consumerGroup: GROUP };

function through({ host, port }: PostgresAddress, { config }: TestDatabase) {
  return { config: { ...config, host, port, sslMode: "disable" as const } };
}

/** What a program says that is started with the pooler in front of its database. */
async function outcome(script: string, { config }: ReturnType<typeof through>, change = {}) {
  await using program = Program.start(script, {
    env: {
      DB_HOST: config.host,
      DB_PORT: String(config.port),
      DB_NAME: config.name,
      DB_USER: config.user,
      DB_PASSWORD: config.password,
      DB_SSLMODE: "disable",
      METRICS_PORT_CONSUMER: "0",
      HTTP_HOST: "127.0.0.1",
      KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1",
      ...change,
    },
  });
  return { code: await program.exit(), stderr: program.stderr };
}

function sentence(what: string) {
  return { code: 1, stderr: expect.stringMatching(new RegExp(`^PostgreSQL at [^\\n]*${what}[^\\n]*\\n$`)) };
}

describe("PgBouncer in session mode, with its defaults", () => {
  poolerTest("serves every part of the store, whatever the database has set", async () => {
    await using database = await emptyDatabase();
    await setHostileSettings(database);
    await using pooler = await startPgBouncer((await sharedPostgres()).address);
    const here = through(pooler.address, database);
    await migrateDatabase(here);
    const session = await openSession(here);
    expect(session.isPooled).toBe(true);
    await assertOwnBackend(session, here.config, MAIN);
    await claimDatabase(session.sql, GROUP);
    await enter(session, 1);
    const store = new Store(session, STORE_OPTIONS);
    await store.commit(batchFrom(0, [eventText(), "{"]));
    await store.commit(batchFrom(2, [eventText({ event_id: "another" }), eventText()]));
    const check = await openSession(here, { role: "check" });
    expect(await checkDatabase(check.sql)).toMatchObject({ ok: true });
    for (const opened of [session, check]) opened.destroy();

    // PgBouncer keeps the backends for others; nothing of the sessions is left in them.
    await eventually("no backend counts as ours", async () => (await backends(database)).length === 0);
    const next = await openSession(here, { consumerGroup: "another-group" });
    expect(await claimDatabase(next.sql, "another-group")).toEqual({ previousGroup: GROUP });
    next.destroy();
  });

  poolerTest("is not taken for another mode while it has no backend left", async () => {
    await using database = await emptyDatabase();
    await using pooler = await startPgBouncer((await sharedPostgres()).address, {
      default_pool_size: "1",
      query_wait_timeout: "1",
    });
    const here = through(pooler.address, database);
    const session = await openSession(here);
    await assertOwnBackend(session, here.config, MAIN);
    session.destroy();
  });
});

describe("PgBouncer in a mode that shares backends", () => {
  for (const pool_mode of ["transaction", "statement"]) {
    poolerTest(`is refused in one sentence: ${pool_mode}`, async () => {
      await using database = await emptyDatabase();
      await using pooler = await startPgBouncer((await sharedPostgres()).address, { pool_mode });
      const here = through(pooler.address, database);
      for (const script of ["workers/consumer.ts", "workers/check.ts"]) {
        expect(await outcome(script, here)).toEqual(sentence("a session needs one for itself.*pool_mode"));
      }
    });
  }
});

poolerTest("a login that PgBouncer refuses is reported as such", async () => {
  await using database = await emptyDatabase();
  await using pooler = await startPgBouncer((await sharedPostgres()).address);
  const here = through(pooler.address, database);
  const cases: [change: Record<string, string>, says: string][] = [
    [{ DB_PASSWORD: "wrong" }, "authentication failed.*DB_PASSWORD"],
    [{ DB_USER: "nobody_of_that_name" }, "(no such user|authentication failed).*DB_USER"],
    [{ DB_NAME: "no_database_of_that_name" }, "does not exist.*DB_NAME"],
  ];
  for (const [change, says] of cases) {
    expect(await outcome("workers/consumer.ts", here, change)).toEqual(sentence(says));
  }
  // The server behind the pooler may come back, so its absence is no refusal.
  const nowhere = { ...(await sharedPostgres()).address, port: 1 };
  await using orphaned = await startPgBouncer(nowhere, { query_wait_timeout: "1" });
  expect(classify(await rejection(openSession(through(orphaned.address, database))))).toBe("connection");
});
