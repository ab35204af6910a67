import { describe, expect, test } from "bun:test";
import { readPositions } from "../../shared/store/positions.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import { eventText } from "../pipeline/record.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import {
  ledgerOf,
  batchFrom,
  everything,
  expectProven,
  freshStore,
  openStore,
  partitionKey,
  rowCounts,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

const event = (event_id: string, changes: Record<string, unknown> = {}) =>
  eventText({ event_id, ...changes });

describe("a committed batch", () => {
  test("is stored with all of its effects and reported", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const batch = batchFrom(0, [
      event("a", { duration_seconds: 1.5 }),
      event("b", { user_id: "u2", event_type: "login", timestamp: "2026-03-14T08:10:00Z" }),
      event("a"),
      undefined,
      event("c", { duration_seconds: 2 }),
    ]);
    const report = await worker.store.commit(batch);
    expect(batch.eventsOf(report.stored).map((stored) => stored.event.eventId)).toEqual(["a", "b", "c"]);
    expect(report.rawRows).toBe(3);
    expect(report.createdHours.toSorted()).toEqual(["login", "page_view"]);
    expect(
      report.deltas.map(({ eventType, totalEvents, totalDurationMs, lateEvents }) => [
        eventType,
        totalEvents,
        totalDurationMs,
        lateEvents,
      ]),
    ).toEqual([
      ["page_view", 2, 3500n, 0],
      ["login", 1, 0n, 1],
    ]);
    expect(report.transactionSeconds).toBeGreaterThan(0);
    expect(report.aggregationSeconds).toBeGreaterThan(0);
    expect(await rowCounts(database)).toEqual({
      raw_events: 3,
      hourly_aggregations: 2,
      hourly_users: 2,
      pipeline_offsets: 1,
      dead_letter_events: 1,
    });
    expect(await ledgerOf(database)).toMatchObject({
      next_offset: 5,
      consumed: 5,
      stored: 3,
      duplicates: 1,
      dead_lettered: 1,
    });
    await expectProven(database);
  });

  test("moves the offset when it holds only dead letters or duplicates", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a")]));
    const hours = (await everything(database))["hourly_aggregations"];
    expect((await worker.store.commit(batchFrom(1, ["{", undefined]))).stored).toBeEmpty();
    expect((await worker.store.commit(batchFrom(3, [event("a"), event("a")]))).stored).toBeEmpty();
    expect(await ledgerOf(database)).toMatchObject({
      next_offset: 5,
      stored: 1,
      duplicates: 2,
      dead_lettered: 2,
    });
    expect((await everything(database))["hourly_aggregations"]).toEqual(hours);
    await expectProven(database);
  });

  test("counts once when it is redelivered in other batches after a resync", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const values = ["a", "b", "{", "a", "c", "d"].map((id) => (id === "{" ? id : event(id)));
    await worker.store.commit(batchFrom(0, values.slice(0, 4)));
    expect(await worker.session.run((sql) => readPositions(sql, [partitionKey(0)]))).toMatchObject([
      { nextOffset: 4 },
    ]);
    const stored = 4;
    await new Store(worker.session, STORE_OPTIONS).commit(batchFrom(stored, values.slice(stored)));
    expect(await ledgerOf(database)).toMatchObject({
      next_offset: 6,
      stored: 4,
      duplicates: 1,
      dead_lettered: 1,
    });
    await expectProven(database);
  });
});

describe("the memory of known users", () => {
  test("leaves out stored users", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const users = async (from: number, id: string, user_id: string) =>
      (await worker.store.commit(batchFrom(from, [event(id, { user_id })]))).deltas.map(
        ({ newUserCandidates }) => newUserCandidates,
      );
    expect(await users(0, "a", "u")).toEqual([["u"]]);
    expect(await users(1, "b", "u")).toEqual([[]]);
    expect(await users(2, "c", "v")).toEqual([["v"]]);
    await expectProven(database);
  });

  test("grows by a COMMIT only: a user of a failed transaction is sent again", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    // The hours fail last, after the users are inserted.
    await database.sql`alter table hourly_aggregations add constraint odd check (event_type <> 'page_view')`;
    const failed = await rejection(worker.store.commit(batchFrom(0, [event("a")])));
    expect(classify(failed)).toBe("schema");
    expect(await rowCounts(database)).toMatchObject({ raw_events: 0, hourly_users: 0 });
    await database.sql`alter table hourly_aggregations drop constraint odd`;
    // The same store, to show that it has not remembered the user; a worker would make a new store.
    await worker.store.commit(batchFrom(0, [event("a")]));
    expect(await rowCounts(database)).toMatchObject({ raw_events: 1, hourly_users: 1 });
    await expectProven(database);
  });

  test("is separate for each worker, and each user counts once", async () => {
    await using left = await freshStore(2);
    const { database } = left;
    await using right = await openStore(database);
    for (let n = 0; n < 4; n++) {
      await left.store.commit(batchFrom(n, [event(`l${n}`, { user_id: `u${n}` })], 0));
      await right.store.commit(batchFrom(n, [event(`r${n}`, { user_id: `u${3 - n}` })], 1));
    }
    expect(await database.sql`select unique_users::int from hourly_aggregations`).toMatchObject([
      { unique_users: 4 },
    ]);
    await expectProven(database);
  });
});

describe("a store without raw rows", () => {
  const unsaved = async (database: TestDatabase) => {
    const [row] = await database.sql`
      select coalesce(sum(total_events), 0)::int as total, coalesce(sum(unsaved_events), 0)::int as unsaved,
        coalesce(sum(unique_users), 0)::int as users from hourly_aggregations`;
    return { ...row };
  };

  test("counts the hours as unsaved, and refuses a redelivery by its offset", async () => {
    await using worker = await freshStore(1, { saveRawEvents: false });
    const { database } = worker;
    const report = await worker.store.commit(
      batchFrom(0, [event("a"), event("b", { user_id: "v" }), event("a"), "{"]),
    );
    expect(report.rawRows).toBe(0);
    expect(report.stored).toHaveLength(2);
    expect(await rowCounts(database)).toMatchObject({
      raw_events: 0,
      hourly_users: 2,
      dead_letter_events: 1,
    });
    expect(await unsaved(database)).toEqual({ total: 2, unsaved: 2, users: 2 });
    expect(await ledgerOf(database)).toMatchObject({ stored: 2, duplicates: 1, dead_lettered: 1 });
    const before = await everything(database);
    await expect(worker.store.commit(batchFrom(0, [event("a")]))).rejects.toThrow("the stored offset is 4");
    expect(await everything(database)).toEqual(before);
  });

  test("finds duplicates among the recent ids of its own session", async () => {
    await using worker = await freshStore(1, { saveRawEvents: false });
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a")]));
    await worker.store.commit(batchFrom(1, [event("b"), event("a")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 2, duplicates: 1 });
    // After a resync the window is empty, and the id counts again, as the README says.
    const next = new Store(worker.session, { ...STORE_OPTIONS, saveRawEvents: false, hourGraceMs: 0 });
    await next.commit(batchFrom(3, [event("a")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 3, duplicates: 1 });
    expect(await unsaved(database)).toEqual({ total: 3, unsaved: 3, users: 1 });
  });

  test("remembers ids by a COMMIT only", async () => {
    await using worker = await freshStore(1, { saveRawEvents: false });
    const { database } = worker;
    await expect(worker.store.commit(batchFrom(7, [event("a")]))).rejects.toThrow("the stored offset is 0");
    await worker.store.commit(batchFrom(0, [event("a")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 1, duplicates: 0 });
  });

  test("keeps the hours right that hold raw rows from before", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a"), event("b")]));
    await new Store(worker.session, { ...STORE_OPTIONS, saveRawEvents: false, hourGraceMs: 0 }).commit(
      batchFrom(2, [event("c")]),
    );
    expect(await unsaved(database)).toEqual({ total: 3, unsaved: 1, users: 1 });
    expect(
      await database.sql`
      select (select sum(total_events) from hourly_aggregations) = (select sum(stored) from pipeline_offsets) as is_proven`,
    ).toMatchObject([{ is_proven: true }]);
  });
});
