// Suspends a check in the middle of its work, as Ctrl-Z does.
import { expect, test } from "bun:test";
import { healthyDatabase } from "../check/checked-database.ts";
import { eventually } from "../support/eventually.ts";
import { Program } from "../support/process.ts";

test("a suspended check loses its snapshot, and says so when it is continued", async () => {
  await using database = await healthyDatabase();
  const { sql } = database;
  await sql.unsafe("alter table raw_events rename to kept_events");
  await sql.unsafe("create view raw_events as select e.* from kept_events e, pg_sleep(2)");
  await using check = Program.start("workers/check.ts", {
    env: { ...database.env, KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1" },
  });
  const states = async () =>
    (
      await sql<{ state: string }[]>`
        select state from pg_stat_activity
        where datname = current_database() and application_name like 'event-pipeline check %' and xact_start is not null`
    ).map(({ state }) => state);
  await eventually("it reads", async () => (await states())[0] === "active");
  check.signal("SIGSTOP");
  await eventually("its statement has ended", async () => (await states())[0] === "idle in transaction");
  await eventually("its snapshot is gone", async () => (await states()).length === 0, { timeoutMs: 120_000 });
  check.signal("SIGCONT");
  expect(await check.exit()).toBe(1);
  expect(check.stderr).toMatch(/^PostgreSQL at [^\n]* cannot be read: [^\n]*\n$/);
}, 180_000);
