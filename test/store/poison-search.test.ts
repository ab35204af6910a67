import { describe, expect, test } from "bun:test";
import { findPoisonEvents } from "../../shared/store/poison-search.ts";
import { classify, DeadlineExceeded, describeFault } from "../../shared/store/sqlstate.ts";
import { Store } from "../../shared/store/store.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { eventText, eventTextWith, NOW_MS } from "../pipeline/record.ts";
import { REFUSED_DATA, REFUSED_ERROR, refuseContent } from "../support/refused-content.ts";
import { rejection } from "../support/rejection.ts";
import {
  ledgerOf,
  batchFrom,
  everything,
  expectProven,
  freshStore,
  STORE_OPTIONS,
  type TestStore,
} from "./pipeline-database.ts";

const good = (event_id: string) => eventText({ event_id });
const refused = (event_id: string) => eventTextWith(REFUSED_DATA, { event_id });

/** A store whose database refuses the content of some events. */
async function refusingStore(): Promise<TestStore> {
  const worker = await freshStore();
  await refuseContent(worker.database);
  return worker;
}

async function deadLetters({ sql }: TestDatabase) {
  const rows = await sql`
    select "offset"::int, convert_from(value, 'UTF8') as value, stage, reason, error from dead_letter_events order by "offset"`;
  return rows.map((row) => ({ ...row }));
}

async function rawIds({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ event_id: string }[]>`select event_id from raw_events order by 1`;
  return rows.map(({ event_id }) => event_id);
}

describe("the poison search", () => {
  const REST = ["a", "b", "c", "d", "e", "f", "g"];
  test.each<[what: string, at: number[], size: number]>([
    ["the only record", [0], 1],
    ["the first", [0], 8],
    ["in the middle", [4], 8],
    ["the last", [7], 8],
    ["several records apart", [0, 3, 7], 8],
    ["two adjacent records", [3, 4], 8],
    ["all but one", [0, 1, 2, 4, 5, 6, 7], 8],
    ["all", [0, 1, 2, 3, 4, 5, 6, 7], 8],
    ["the last of an odd batch", [6], 7],
  ])("makes dead letters of the refused records and stores the rest: %s", async (_what, at, size) => {
    await using worker = await refusingStore();
    const { database } = worker;
    const values = Array.from({ length: size }, (_, n) =>
      at.includes(n) ? refused(`bad_${n}`) : good(REST[n] ?? "h"),
    );
    const batch = batchFrom(0, values);
    const report = await worker.store.commit(batch);
    expect(report.rawRows).toBe(size - at.length);
    expect(batch.rejected.places()).toHaveLength(at.length);
    expect(await deadLetters(database)).toEqual(
      at.map((offset) => ({
        offset,
        value: refused(`bad_${offset}`),
        stage: "store",
        reason: "refused_by_database",
        error: REFUSED_ERROR,
      })),
    );
    expect(await rawIds(database)).toHaveLength(size - at.length);
    expect(await ledgerOf(database)).toMatchObject({
      next_offset: size,
      stored: size - at.length,
      dead_lettered: at.length,
    });
    await expectProven(database);
    // The next batch is stored.
    await worker.store.commit(batchFrom(size, [good("next")]));
    await expectProven(database);
  });

  test("stores the valid one of two records with one id, and counts no duplicate", async () => {
    await using worker = await refusingStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [refused("a"), good("a"), good("b"), good("a")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 2, duplicates: 1, dead_lettered: 1 });
    await expectProven(database);
  });

  test("makes a dead letter of a refused record whose id is stored already", async () => {
    await using worker = await refusingStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [good("a"), good("b")]));
    await worker.store.commit(batchFrom(2, [refused("a"), good("b"), good("c")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 3, duplicates: 1, dead_lettered: 1 });
    await expectProven(database);
  });

  test("finds nothing when no raw rows are stored", async () => {
    await using worker = await freshStore(1, { saveRawEvents: false });
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [refused("a"), good("b")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 2, dead_lettered: 0 });
  });
});

describe("very many refused records", () => {
  const slowDown = ({ sql }: TestDatabase, secondsPerEvent: number) =>
    sql.unsafe(`
      create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(${secondsPerEvent}); return new; end';
      create trigger slow before insert on raw_events for each row execute function slow()`);

  test("that are not all found in time are kept as far as they are", async () => {
    await using worker = await refusingStore();
    await slowDown(worker.database, 0.3);
    // Only what is not refused reaches the trigger.
    const values = Array.from({ length: 40 }, (_, n) => [refused(`r${n}`), good(`g${n}`)]).flat();
    const { events } = batchFrom(0, values);
    const found = await findPoisonEvents(worker.session, events, NOW_MS, 3000);
    expect(found.size).toBeGreaterThan(0);
    expect(found.size).toBeLessThan(40);
    expect([...found.keys()]).toEqual(events.filter((_, index) => index % 2 === 0).slice(0, found.size));
  }, 60_000);

  test("of which none is found in time are an excess of the deadline, not a fault of the schema", async () => {
    await using worker = await refusingStore();
    await slowDown(worker.database, 0.05);
    const values = [...Array.from({ length: 40 }, (_, n) => good(`g${n}`)), refused("last")];
    const search = findPoisonEvents(worker.session, batchFrom(0, values).events, NOW_MS, 200);
    expect(await rejection(search)).toBeInstanceOf(DeadlineExceeded);
  });
});

describe("a fault of the schema", () => {
  const change = (statement: string, undo: string) => ({ statement, undo });
  test.each([
    [
      "a new required column",
      change(
        "alter table raw_events add tenant text not null default ''; alter table raw_events alter tenant drop default",
        "alter table raw_events drop tenant",
      ),
    ],
    [
      "a missing column",
      change("alter table raw_events rename user_id to uid", "alter table raw_events rename uid to user_id"),
    ],
    [
      "a missing table",
      change("alter table raw_events rename to events", "alter table events rename to raw_events"),
    ],
    [
      "a check that refuses some rows",
      change(
        "alter table raw_events add constraint odd check (event_id <> 'b')",
        "alter table raw_events drop constraint odd",
      ),
    ],
    ["another unique index", change("create unique index odd on raw_events (user_id)", "drop index odd")],
    [
      "a type that fits no value",
      change(
        "alter table raw_events alter event_data type integer using 0",
        "alter table raw_events alter event_data type jsonb using '{}'",
      ),
    ],
    [
      "a column too narrow for some values",
      change(
        "alter table raw_events alter event_type type varchar(10)",
        `alter table raw_events alter event_type type text collate "C"`,
      ),
    ],
    [
      "a column too small for some values",
      change(
        "alter table raw_events alter duration_seconds type smallint",
        "alter table raw_events alter duration_seconds type double precision",
      ),
    ],
  ])("stores nothing, makes no dead letters, and can be undone: %s", async (_what, { statement, undo }) => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [good("a")]));
    const before = await everything(database);
    await database.sql.unsafe(statement);
    // One record that does not fit the changed column, and one that fits any.
    const values = [
      good("c"),
      eventText({ event_id: "b", event_type: "a_type_of_some_length", duration_seconds: 1e6 }),
    ];
    const attempt = (store: Store) => rejection(store.commit(batchFrom(1, values)));
    const first = await attempt(worker.store);
    expect({ kind: classify(first), says: describeFault(first) }).toMatchObject({ kind: "schema" });
    // The worker makes a new store and retries the batch.
    expect(classify(await attempt(new Store(worker.session, { ...STORE_OPTIONS, hourGraceMs: 0 })))).toBe(
      "schema",
    );
    expect(await database.sql`select count(*)::int as n from dead_letter_events`).toMatchObject([{ n: 0 }]);
    await database.sql.unsafe(undo);
    expect(await everything(database)).toEqual(before);
    await new Store(worker.session, { ...STORE_OPTIONS, hourGraceMs: 0 }).commit(batchFrom(1, values));
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 3, stored: 3, dead_lettered: 0 });
    await expectProven(database);
  });

  test("makes no dead letters when the hours refuse a row", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await database.sql`alter table hourly_users alter user_id type varchar(3)`;
    await expect(worker.store.commit(batchFrom(0, [good("a")]))).rejects.toMatchObject({ code: "22001" });
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 0, dead_lettered: 0 });
    await database.sql`alter table hourly_users alter user_id type text collate "C"`;
    await new Store(worker.session, { ...STORE_OPTIONS, hourGraceMs: 0 }).commit(batchFrom(0, [good("a")]));
    await expectProven(database);
  });
});
