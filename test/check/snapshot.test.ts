// Tests that a check holds its snapshot no longer than it must: an open snapshot slows every commit.
import { expect, test } from "bun:test";
import { FatalError } from "../../shared/runtime/errors.ts";
import { checkDatabase } from "../../shared/store/check/check.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { openSession, partitionKey } from "../store/pipeline-database.ts";
import { broken, check, healthyDatabase } from "./checked-database.ts";

/** Makes every read of raw_events take so long. */
async function slowDown({ sql }: TestDatabase, seconds: number): Promise<void> {
  await sql.unsafe(`alter table raw_events rename to kept_events`);
  await sql.unsafe(`create view raw_events as select e.* from kept_events e, pg_sleep(${seconds})`);
}

/** The backends of checks, and whether each is in a transaction. */
async function checks({ sql }: TestDatabase): Promise<{ in_transaction: boolean }[]> {
  return [
    ...(await sql<{ in_transaction: boolean }[]>`
      select xact_start is not null as in_transaction from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline check %'`),
  ];
}

test("a check waits for Kafka's answer when its snapshot is closed", async () => {
  await using database = await healthyDatabase();
  const session = await openSession(database, { role: "check" });
  const report = await checkDatabase(session.sql, {
    lag: async (partitions) => {
      await eventually("the snapshot is closed", async () => {
        const [found] = await checks(database);
        return found?.in_transaction === false;
      });
      return { lags: partitions.map(() => 7), unread: [] };
    },
  });
  expect(report.partitions.map(({ lag }) => lag)).toEqual([7, 7, 7]);
  session.destroy();
});

test("a check ends when its time is over, and says how to give it longer", async () => {
  await using database = await healthyDatabase();
  await slowDown(database, 600);
  const session = await openSession(database, { role: "check" });
  const error = await rejection(checkDatabase(session.sql, { minutes: 0.005 }));
  expect(error).toBeInstanceOf(FatalError);
  expect(error.message).toMatch(/^the check was ended after 0\.005 minutes.*--minutes/);
  await eventually("its snapshot is gone", async () =>
    (await checks(database)).every((found) => !found.in_transaction),
  );
  session.destroy();
});

test("a check that is killed in the middle of a statement leaves no snapshot", async () => {
  await using database = await healthyDatabase();
  await slowDown(database, 600);
  const session = await openSession(database, { role: "check" });
  const checking = rejection(checkDatabase(session.sql));
  await eventually("it reads", async () => {
    const rows = await database.sql`
      select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
    return rows.length === 1;
  });
  session.destroy();
  await checking;
  await eventually("its backend has ended", async () => (await checks(database)).length === 0);
});

test("dead letters are validated page by page, each of them once", async () => {
  await using database = await healthyDatabase();
  const { topic, topicId } = partitionKey(2);
  await database.sql`
    update pipeline_offsets
    set next_offset = 1300, consumed = 1300, dead_lettered = 1300 where partition = 2`;
  await database.sql`
    insert into dead_letter_events (topic, topic_id, "partition", "offset", value, stage, reason, error, first_seen_at,
      max_future_skew_seconds)
    select ${topic}, ${topicId}, 2, n, '{'::bytea, 'decode', 'not_json', 'x', now(), 86400 from generate_series(0, 1299) n`;
  const proof = (report: Awaited<ReturnType<typeof check>>) =>
    report.invariants.find(({ name }) => name === "dead_letters_rejected_again")?.detail;
  const healthy = await check(database);
  expect({ broken: broken(healthy), proof: proof(healthy) }).toEqual({
    broken: [],
    proof: "1,316 dead letters validated again",
  });
  await database.sql`update dead_letter_events set reason = 'not_utf8' where "partition" = 2 and "offset" = 1299`;
  const planted = await check(database);
  expect(broken(planted)).toEqual(["dead_letters_rejected_again"]);
  expect(proof(planted)).toContain(`${topic}[2]@1299: reason not_utf8, now not_json`);
});
