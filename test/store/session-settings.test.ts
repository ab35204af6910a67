import { describe, expect, test } from "bun:test";
import { claimDatabase, endStuckPeers } from "../../shared/store/database-owner.ts";
import { checkDatabase } from "../../shared/store/check/check.ts";
import { assertFit, type Greeting, greetingStatement } from "../../shared/store/session-settings.ts";
import { classify, type SessionRefused } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import { eventText } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import {
  batchFrom,
  emptyDatabase,
  enter,
  GROUP,
  migrateDatabase,
  openSession,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

describe("the answer to a session's first statement", () => {
  const answer = async (): Promise<Greeting> => {
    await using database = await emptyDatabase();
    const [greeting] = await database.sql.unsafe<[Greeting]>(greetingStatement("worker", GROUP));
    return greeting;
  };
  const refusal = (greeting: Greeting): SessionRefused | undefined => {
    try {
      assertFit(greeting, "worker", GROUP);
      return undefined;
    } catch (error) {
      return error as SessionRefused;
    }
  };

  test("fits a server that sets everything", async () => {
    expect(refusal(await answer())).toBeUndefined();
  });

  test("is refused with the name of the setting that a pooler keeps", async () => {
    const greeting = await answer();
    for (const name of ["bytea_output", "synchronous_commit", "lock_timeout", "application_name"]) {
      const error = refusal({ ...greeting, [name]: "other" });
      expect({ kind: classify(error), says: error?.message }).toEqual({
        kind: "access",
        says: expect.stringMatching(new RegExp(`^the setting ${name} stays "other" and must be `)),
      });
    }
  });

  test("may lack what an older server or a Unix socket does not have", async () => {
    const greeting = await answer();
    expect(refusal({ ...greeting, transaction_timeout: null, tcp_keepalives_idle: "0" })).toBeUndefined();
  });

  test("holds a consumer group of any characters", async () => {
    await using database = await emptyDatabase();
    const consumerGroup = `a'b\\c"d$1`;
    await database.sql.unsafe(`alter database "${database.name}" set standard_conforming_strings = off`);
    await database.sql.unsafe(`alter database "${database.name}" set backslash_quote = off`);
    const session = await openSession(database, { consumerGroup });
    expect(await session.sql`show application_name`).toMatchObject([
      { application_name: `event-pipeline worker ${consumerGroup}` },
    ]);
    session.destroy();
  });
});

test("tables in a schema of their own, and of a role that the login takes on, serve every part of the store", async () => {
  await using database = await emptyDatabase();
  const [login, owner] = [`${database.name}_login`, `${database.name}_owner`];
  for (const statement of [
    `create role "${owner}" nologin`,
    `create role "${login}" login password 'p' noinherit in role "${owner}"`,
    `create schema pipeline authorization "${owner}"`,
    `alter database "${database.name}" set search_path = 'pipeline'`,
    `alter role "${login}" in database "${database.name}" set role = '${owner}'`,
  ]) {
    await database.sql.unsafe(statement);
  }
  const here = { config: { ...database.config, user: login, password: "p" } };
  await migrateDatabase(here);
  const session = await openSession(here);
  await claimDatabase(session.sql, GROUP);
  await enter(session, 1);
  await new Store(session, STORE_OPTIONS).commit(batchFrom(0, [eventText(), "{"]));
  const check = await openSession(here, { role: "check" });
  expect((await checkDatabase(check.sql)).ok).toBe(true);
  expect(
    await check.sql`select tableowner as owner, schemaname as schema from pg_tables where tablename = 'raw_events'`,
  ).toMatchObject([{ owner, schema: "pipeline" }]);

  const stuck = await openSession(here);
  const left = stuck.sql
    .begin(async (tx) => {
      await tx`select * from pipeline_offsets for update`;
      await new Promise(() => undefined);
    })
    .catch((error: unknown) => error);
  await eventually("a stuck peer is found and ended", async () =>
    (await session.run((sql) => endStuckPeers(sql, 0.05))).includes(stuck.backendPid),
  );
  expect(await left).toBeInstanceOf(Error);
  for (const opened of [session, check, stuck]) opened.destroy();
});
