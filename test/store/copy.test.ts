// Tests the COPY into raw_events: its failures, and the loss of its connection.
import { describe, expect, test } from "bun:test";
import { codeOf } from "../../shared/runtime/errors.ts";
import { classify } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { REFUSED_DATA, refuseContent } from "../support/refused-content.ts";
import { rejection } from "../support/rejection.ts";
import { eventText, eventTextWith } from "../pipeline/record.ts";
import {
  ledgerOf,
  batchFrom,
  enter,
  everything,
  expectProven,
  freshStore,
  openSession,
  openStore,
  pipelineDatabase,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

const event = (event_id: string) => eventText({ event_id });
const refused = (event_id: string) => eventTextWith(REFUSED_DATA, { event_id });
const many = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, n) => event(`${prefix}${n}`));

describe("a COPY that fails on its last row", () => {
  test("repeats the batch by unnest and counts a duplicate when the event_id is stored", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    expect((await worker.store.commit(batchFrom(0, many("a", 500)))).copyFailed).toBe(false);
    const report = await worker.store.commit(batchFrom(500, [...many("b", 499), event("a7")]));
    expect(report).toMatchObject({ copyFailed: true, rawRows: 499 });
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 1000, stored: 999, duplicates: 1 });
    await expectProven(database);
  });

  test("makes a dead letter and stores the rest when the content is refused", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await refuseContent(database);
    const report = await worker.store.commit(batchFrom(0, [...many("a", 499), refused("b")]));
    expect(report).toMatchObject({ copyFailed: true, rawRows: 499 });
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 500, stored: 499, dead_lettered: 1 });
    await expectProven(database);
  });

  test("stores nothing and reports the server's error when the tables refuse it", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await database.sql`alter table raw_events add check (event_id <> 'z')`;
    const before = await everything(database);
    const error = await rejection(worker.store.commit(batchFrom(0, [...many("a", 499), event("z")])));
    expect({ code: codeOf(error), kind: classify(error) }).toEqual({ code: "23514", kind: "schema" });
    expect(await everything(database)).toEqual(before);
    // The same session stores the batch after the change is undone.
    await database.sql`alter table raw_events drop constraint raw_events_event_id_check`;
    await worker.store.commit(batchFrom(0, [...many("a", 499), event("z")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 500 });
    await expectProven(database);
  });
});

test("ids are looked up after a failed COPY until five batches in a row hold no stored event", async () => {
  await using worker = await freshStore();
  const { database } = worker;
  let offset = 0;
  const commit = async (...ids: string[]) => {
    const { copyFailed } = await worker.store.commit(batchFrom(offset, ids.map(event)));
    offset += ids.length;
    return copyFailed;
  };
  await commit("again");
  expect(await commit("again")).toBe(true);
  for (let n = 0; n < 4; n++) await commit(`a${n}`);
  // One batch short of five: the look-up skips the repeated id, and the count starts again.
  expect(await commit("again")).toBe(false);
  for (let n = 0; n < 5; n++) await commit(`b${n}`);
  expect(await commit("again")).toBe(true);
  expect(await ledgerOf(database)).toMatchObject({ stored: 10, duplicates: 3 });
  await expectProven(database);
});

/** A batch larger than the buffers of a socket, so that a blocked COPY is still being sent. */
const LARGE = Array.from({ length: 150 }, (_, n) =>
  eventTextWith(`{"a":"${"x".repeat(100_000)}"}`, { event_id: `large_${n}` }),
);

/** Blocks the insert of one event until it is disposed. */
async function blockInsert({ sql }: TestDatabase, eventId: string) {
  const lock = await sql.reserve();
  await lock`select pg_advisory_lock(1)`;
  await sql.unsafe(`create function block_insert() returns trigger language plpgsql
    as 'begin perform pg_advisory_lock(1); perform pg_advisory_unlock(1); return new; end'`);
  await sql.unsafe(`create trigger block_insert before insert on raw_events for each row
    when (new.event_id = '${eventId}') execute function block_insert()`);
  return {
    async [Symbol.asyncDispose]() {
      await lock`select pg_advisory_unlock(1)`;
      lock.release();
    },
  };
}

describe("a backend that is terminated", () => {
  // When the first row is blocked, most rows are unsent; when the last row is blocked, all are sent and unanswered.
  test.each([
    ["in the middle of a COPY", "large_0"],
    ["at the last row of a COPY", `large_${LARGE.length - 1}`],
  ])("stores nothing %s, and the next session stores the batch", async (_when, blockedAt) => {
    await using database = await pipelineDatabase();
    const session = await openSession(database);
    await enter(session, 1);
    const before = await everything(database);
    const blocked = await blockInsert(database, blockedAt);
    const committing = rejection(new Store(session, STORE_OPTIONS).commit(batchFrom(0, LARGE)));
    await eventually("the COPY is blocked", async () => {
      const [backend] = await database.sql`
        select query, wait_event from pg_stat_activity where pid = ${session.backendPid}`;
      return backend?.["wait_event"] === "advisory" && /^\s*copy raw_events/.test(String(backend["query"]));
    });
    await database.sql`select pg_terminate_backend(${session.backendPid})`;
    expect(classify(await committing)).toBe("connection");
    expect(session.isLost).toBe(true);
    await blocked[Symbol.asyncDispose]();
    expect(await everything(database)).toEqual(before);

    await using next = await openStore(database);
    expect(await next.store.commit(batchFrom(0, LARGE))).toMatchObject({
      copyFailed: false,
      rawRows: LARGE.length,
    });
    await expectProven(database);
  });
});
