// Tests that users are mended beside workers that store, or know, the same users.
import { describe, expect, test } from "bun:test";
import { mendUsers } from "../../../shared/store/rebuild/mend.ts";
import { eventText } from "../../pipeline/record.ts";
import { eventually } from "../../support/eventually.ts";
import { batchFrom, expectProven, freshStore, openSession, openStore } from "../pipeline-database.ts";
import { runRebuild } from "./run-rebuild.ts";

describe("mendUsers", () => {
  const HOUR = "2026-03-14T09:00:00Z";
  const user = (user_id: string, is_extra: boolean) => ({
    hour: HOUR,
    event_type: "page_view",
    user_id,
    is_extra,
  });
  const event = (id: string, user_id: string) => eventText({ event_id: id, user_id });

  test("keeps a user who had no event when the hour was compared, and has one now", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a", "ann"), event("b", "bob")]));
    await database.sql`insert into hourly_users values (${HOUR}, 'page_view', 'cal')`;
    await database.sql`update hourly_aggregations set unique_users = 3`;
    const writer = await openSession(database, { role: "main" });
    await writer.transaction(20_000, (tx) => mendUsers(tx, [user("ann", true), user("cal", true)]));
    await writer.close();
    await expectProven(database);
  });

  test("waits for a batch that has entered the same user, without a deadlock", async () => {
    await using worker = await freshStore();
    await using writing = await openStore(worker.database);
    const { sql } = worker.database;
    await worker.store.commit(batchFrom(0, [event("a", "ann"), event("b", "bob")]));
    await sql`delete from hourly_users where user_id = 'ann'`;
    await sql`update hourly_aggregations set unique_users = 1`;
    const writer = await openSession(worker.database, { role: "main" });
    let mending: Promise<void> | undefined;
    await writing.session.transaction(20_000, async (tx) => {
      // As a batch does that does not know ann: users first, then the hour.
      await tx`insert into hourly_users values (${HOUR}, 'page_view', 'ann')`;
      mending = writer.transaction(20_000, (write) => mendUsers(write, [user("ann", false)]));
      mending.catch(() => undefined);
      await eventually("the rebuild waits", async () => {
        const [row] = await sql`select count(*)::int as waiting from pg_stat_activity
          where pid = ${writer.backendPid} and wait_event_type = 'Lock'`;
        return row?.["waiting"] === 1;
      });
      await tx`update hourly_aggregations set unique_users = unique_users + 1`;
    });
    await mending;
    await writer.close();
    await expectProven(worker.database);
  });
});

describe("the users that a worker knows", () => {
  const first = (id: string, user: string) => eventText({ event_id: id, user_id: user });

  test("are forgotten where a rebuild deletes some of them", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [first("a", "ann"), first("b", "bob")]));
    await database.sql`update raw_events set user_id = 'bob' where event_id = 'a'`;
    await runRebuild(database);
    // It still knows ann, so this batch would not enter her again.
    await expect(worker.store.commit(batchFrom(2, [first("c", "ann")]))).rejects.toThrow();
    await using next = await openStore(database);
    await next.store.commit(batchFrom(2, [first("c", "ann")]));
    await expectProven(database);
  });

  test("stay known where none is deleted, and are not counted twice", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [first("a", "ann"), first("b", "bob")]));
    await database.sql`delete from hourly_users where user_id = 'ann'`;
    await runRebuild(database);
    await worker.store.commit(batchFrom(2, [first("c", "ann"), first("d", "cal")]));
    await expectProven(database);
  });
});
