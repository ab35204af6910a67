// Tests that a rebuild finds and mends exactly what differs from the raw events, while batches are stored.
import { describe, expect, test } from "bun:test";
import { isMendable } from "../../../shared/store/rebuild/compare.ts";
import { eventually } from "../../support/eventually.ts";
import type { TestDatabase } from "../../support/postgres.ts";
import { eventText } from "../../pipeline/record.ts";
import { broken, check, healthyDatabase } from "../../check/checked-database.ts";
import {
  batchFrom,
  everything,
  expectProven,
  freshStore,
  openSession,
  openStore,
} from "../pipeline-database.ts";
import { runRebuild } from "./run-rebuild.ts";

const HOURS = 6;
const TYPES = ["click", "login", "page_view", "search"];

/** The texts of `count` events, over six hours, four types and 50 users. */
function events(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const n = from + index;
    return eventText({
      event_id: `e${n}`,
      event_type: TYPES[n % TYPES.length],
      user_id: `u${(n * 7) % 50}`,
      timestamp: new Date(Date.UTC(2026, 2, 14, n % HOURS, 0, 0, n % 1000)).toISOString(),
      ...(n % 3 === 0 ? {} : { duration_seconds: (n % 40) / 8 }),
    });
  });
}

const AT = (hour: number) => new Date(Date.UTC(2026, 2, 14, hour));

/** Each changes one hour and type by hand; its name is that of the hour and type. */
const CHANGES: Record<string, (sql: TestDatabase["sql"]) => Promise<unknown>> = {
  "00 click": (sql) => sql`update hourly_aggregations set total_events = total_events + 5
    where aggregation_hour = ${AT(0)} and event_type = 'click'`,
  "00 page_view": (sql) => sql`update hourly_aggregations set total_events = 1, unique_users = 0
    where aggregation_hour = ${AT(0)} and event_type = 'page_view'`,
  "01 login": (sql) => sql`update hourly_aggregations set total_duration_ms = total_duration_ms - 0.5
    where aggregation_hour = ${AT(1)} and event_type = 'login'`,
  "01 search": (
    sql,
  ) => sql`update hourly_aggregations set duration_count = 0, unsaved_events = 3, closed_at = ${AT(1)}
    where aggregation_hour = ${AT(1)} and event_type = 'search'`,
  "02 click": (sql) =>
    sql`delete from hourly_aggregations where aggregation_hour = ${AT(2)} and event_type = 'click'`,
  "03 login": (sql) =>
    sql`delete from hourly_users where aggregation_hour = ${AT(3)} and event_type = 'login'`,
  "03 search": (sql) => sql`insert into hourly_users values (${AT(3)}, 'search', 'nemo"\\')`,
  "04 page_view": (sql) => sql`update hourly_aggregations set late_events = total_events + 1
    where aggregation_hour = ${AT(4)} and event_type = 'page_view'`,
  "05 purchase": (sql) => sql`insert into hourly_aggregations
    (aggregation_hour, event_type, total_events, unique_users, total_duration_ms, duration_count, unsaved_events, late_events)
    values (${AT(5)}, 'purchase', 9, 1, 0, 0, 0, 0)`,
  "07 click": (sql) => sql`insert into hourly_users values (${AT(7)}, 'click', 'u1')`,
};

describe("a rebuild", () => {
  test("finds nothing, and writes nothing, where nothing differs", async () => {
    await using database = await healthyDatabase();
    const before = await everything(database);
    expect((await runRebuild(database)).differing).toEqual([]);
    expect(await everything(database)).toEqual(before);
  });

  test("finds and mends exactly the rows that were changed by hand, while batches are stored", async () => {
    await using first = await freshStore(2);
    const { database } = first;
    await first.store.commit(batchFrom(0, events(0, 600)));
    const load = { isStopped: false };
    let stored = 0;
    // As a consumer does: a session that was ended is replaced, and the batch is built again.
    const flow = async (partition: number): Promise<void> => {
      let worker = await openStore(database);
      for (let from = partition === 0 ? 600 : 0; !load.isStopped; ) {
        const values = events(10_000 * (partition + 1) + from, 20);
        try {
          await worker.store.commit(batchFrom(from, values, partition));
          from += values.length;
          stored += values.length;
        } catch {
          worker.session.destroy();
          worker = await openStore(database);
        }
      }
      worker.session.destroy();
    };
    const flows = [flow(0), flow(1)];
    await eventually("batches flow", () => stored > 400);
    for (const change of Object.values(CHANGES)) await change(database.sql);
    // Slices of a few hours.
    const { names, unmended } = await runRebuild(database, { sliceEvents: 1000 });
    const before = stored;
    await eventually("batches flow on", () => stored > before + 100);
    expect({ names, unmended }).toEqual({ names: Object.keys(CHANGES).toSorted(), unmended: [] });
    expect((await runRebuild(database)).names).toEqual([]);
    load.isStopped = true;
    await Promise.all(flows);
    await expectProven(database);
    expect(broken(await check(database))).toEqual([]);
  });

  test("changes nothing in a dry run", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events(0, 200)));
    for (const change of Object.values(CHANGES)) await change(database.sql);
    const before = await everything(database);
    expect((await runRebuild(database, { isDryRun: true })).names).toEqual(Object.keys(CHANGES).toSorted());
    expect(await everything(database)).toEqual(before);
  });

  test("makes both tables from nothing", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    // More users than one transaction mends.
    const values = Array.from({ length: 2500 }, (_, n) =>
      eventText({ event_id: `e${n}`, user_id: `u${n}`, timestamp: AT(n % HOURS).toISOString() }),
    );
    await worker.store.commit(batchFrom(0, values));
    const tables =
      () => database.sql`select aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
      duration_count, (select count(*) from hourly_users) as rows from hourly_aggregations order by 1, 2`;
    const before = [...(await tables())];
    await database.sql`truncate hourly_aggregations, hourly_users`;
    expect((await runRebuild(database, { sliceEvents: 1000 })).differing.length).toBe(HOURS);
    expect([...(await tables())]).toEqual(before);
    await expectProven(database);
    // No session was ended: nothing that a worker knows was deleted.
    expect(worker.session.isLost).toBe(false);
  });

  test("leaves the hours outside of its range as they are", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events(0, 200)));
    for (const change of Object.values(CHANGES)) await change(database.sql);
    const range = { from: AT(1).toISOString(), to: AT(3).toISOString() };
    expect((await runRebuild(database, { range })).names).toEqual(["01 login", "01 search", "02 click"]);
    expect((await runRebuild(database)).names).toEqual(
      Object.keys(CHANGES)
        .filter((name) => !/^0[12]/.test(name))
        .toSorted(),
    );
  });

  test("lowers no figure when raw rows are gone, and raises those that are too low", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const { sql } = database;
    await worker.store.commit(batchFrom(0, events(0, 240)));
    await sql`delete from raw_events where event_type = 'click'`;
    await sql`update hourly_aggregations set total_events = 1, unique_users = 0 where event_type = 'login'`;
    const clicks = () => sql`select * from hourly_aggregations where event_type = 'click' order by 1`;
    const before = [...(await clicks())];
    const { evidence, differing } = await runRebuild(database);
    expect(evidence).toMatchObject({ hasUnsaved: true, mayLower: false });
    const kept = differing.filter((hour) => !isMendable(hour));
    expect(new Set(kept.map(({ event_type }) => event_type))).toEqual(new Set(["click"]));
    expect([...(await clicks())]).toEqual(before);
    const logins =
      await sql`select 1 from hourly_aggregations h where event_type = 'login' and total_events <>
      (select count(*) from raw_events e where e.event_type = 'login' and date_trunc('hour', "timestamp", 'UTC') = h.aggregation_hour)`;
    expect(logins.length).toBe(0);
    expect(broken(await check(database))).toEqual([
      "stored_events_kept",
      "hours_recomputed",
      "hourly_users_recomputed",
    ]);
  });

  test("keeps what was stored without raw rows, and mends what the raw rows prove", async () => {
    await using worker = await freshStore(2);
    const { database } = worker;
    const { sql } = database;
    await worker.store.commit(batchFrom(0, events(0, 240)));
    await using unsaved = await openStore(database, { saveRawEvents: false });
    await unsaved.store.commit(batchFrom(0, events(1000, 240), 1));
    expect((await runRebuild(database)).differing).toEqual([]);
    await sql`update hourly_aggregations set total_events = total_events + 7 where aggregation_hour = ${AT(0)}`;
    await sql`delete from hourly_users where aggregation_hour = ${AT(1)} and user_id in (select user_id from raw_events)`;
    await runRebuild(database);
    expect(broken(await check(database))).toEqual([]);
  });

  test("refuses a database in which no event has a raw row", async () => {
    await using worker = await freshStore(1, { saveRawEvents: false });
    await worker.store.commit(batchFrom(0, events(0, 24)));
    await expect(runRebuild(worker.database)).rejects.toThrow("raw_events is empty and 24 events are stored");
  });

  test("refuses to run beside another one", async () => {
    await using worker = await freshStore();
    const other = await openSession(worker.database, { role: "main" });
    await other.run((sql) => sql`select pg_advisory_lock(7061906)`);
    await expect(runRebuild(worker.database)).rejects.toThrow("another rebuild of this database is running");
    await other.close();
    expect((await runRebuild(worker.database)).differing).toEqual([]);
  });
});
