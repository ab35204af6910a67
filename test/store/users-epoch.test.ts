// Tests that a worker forgets the users that were deleted from hourly_users, at any moment of its transaction.
import { describe, expect, test } from "bun:test";
import type { Transaction } from "../../shared/store/session.ts";
import { eventText } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { batchFrom, freshStore, openSession } from "./pipeline-database.ts";

const eventOf = (user_id: string, event_id: string) => eventText({ event_id, user_id });

/** Deletes a user of all hours, as whatever deletes users must: under the locks of the hours, and with the epoch raised. */
async function deleteUser(tx: Transaction, user: string): Promise<void> {
  await tx`select from hourly_aggregations order by aggregation_hour, event_type for update`;
  await tx`
    with deleted as (
      delete from hourly_users where user_id = ${user} returning aggregation_hour, event_type
    )
    update hourly_aggregations h set unique_users = unique_users - 1 from deleted d
    where h.aggregation_hour = d.aggregation_hour and h.event_type = d.event_type`;
  await tx`update pipeline_state set users_epoch = users_epoch + 1`;
}

async function usersOf({ sql }: TestDatabase): Promise<{ counted: number; listed: string[] }> {
  const rows = await sql<{ user_id: string }[]>`select user_id from hourly_users order by user_id`;
  const [hour] = await sql<[{ counted: number }]>`
    select sum(unique_users)::int as counted from hourly_aggregations`;
  return { counted: hour.counted, listed: rows.map(({ user_id }) => user_id) };
}

describe("a worker that knows users to be stored", () => {
  test("stores a user again that was deleted between two batches", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    await using other = await openSession(database, { role: "main" }).then((session) => ({
      session,
      [Symbol.asyncDispose]: () => session.close(),
    }));
    await store.commit(batchFrom(0, [eventOf("a", "1"), eventOf("b", "2")]));
    await other.session.transaction(5000, (tx) => deleteUser(tx, "a"));
    expect(await usersOf(database)).toEqual({ counted: 1, listed: ["b"] });
    await store.commit(batchFrom(2, [eventOf("a", "3"), eventOf("b", "4")]));
    expect(await usersOf(database)).toEqual({ counted: 2, listed: ["a", "b"] });
  });

  test("stores a user again that was deleted while its transaction waited for the hour", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const { sql } = database;
    await store.commit(batchFrom(0, [eventOf("a", "1"), eventOf("b", "2")]));
    const deleter = await openSession(database, { role: "main" });
    let committing: Promise<unknown> | undefined;
    await deleter.transaction(20_000, async (tx) => {
      await deleteUser(tx, "a");
      committing = store.commit(batchFrom(2, [eventOf("a", "3")]));
      await eventually("the worker waits for the row of the hour", async () => {
        const [row] = await sql<[{ waiting: number }]>`
          select count(*)::int as waiting from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`;
        return row.waiting === 1;
      });
    });
    await committing;
    await deleter.close();
    expect(await usersOf(database)).toEqual({ counted: 2, listed: ["a", "b"] });
  });

  test("stores its batch although users are deleted in each of its transactions", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    await database.sql`
      create function raise_epoch() returns trigger language plpgsql
        as 'begin update pipeline_state set users_epoch = users_epoch + 1; return null; end'`;
    await database.sql`
      create trigger raise_epoch after insert or update on hourly_aggregations
        for each statement execute function raise_epoch()`;
    await store.commit(batchFrom(0, [eventOf("a", "1")]));
    await store.commit(batchFrom(1, [eventOf("a", "2"), eventOf("b", "3")]));
    expect(await usersOf(database)).toEqual({ counted: 2, listed: ["a", "b"] });
  });
});
