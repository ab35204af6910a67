// Tests where the raw events of an hour are looked for.
import { expect, test } from "bun:test";
import { raiseCutoffs, sealHours } from "../../../shared/store/retention/cutoff.ts";
import { EventPruner } from "../../../shared/store/retention/prune-events.ts";
import { batchFrom, freshStore, openSession } from "../pipeline-database.ts";
import { broken, check, daysTo, eventsOfHour, hourMs, prune } from "./run-retention.ts";

const EVENTS = 3000;

test.each([
  ["only in its pages, where they are found in time", 60_000, true],
  ["in the whole table, where the search takes too long", 1, false],
])("the events of an hour are deleted %s", async (_where, searchMs, isFound) => {
  await using worker = await freshStore();
  const { database, store } = worker;
  // The hour that goes was stored last.
  for (const [index, hour] of [9, 8, 7, 5].entries()) {
    await store.commit(batchFrom(index * EVENTS, eventsOfHour(hour, EVENTS)));
  }
  const days = { rawEvents: daysTo(6) };
  const session = await openSession(database, { role: "main" });
  await session.transaction(20_000, async (tx) => {
    await raiseCutoffs(tx, days);
    await sealHours(tx, 100);
  });
  const pruner = new EventPruner(searchMs);
  const deleted: number[] = [];
  for (let step = await pruner.next(session); step !== undefined; step = await pruner.next(session)) {
    const rows = await session.transaction(20_000, (tx) => step.run(tx));
    step.committed(rows, 10);
    deleted.push(rows);
  }
  await session.close();
  expect(deleted[0]! > 0).toBe(isFound);
  expect(deleted.reduce((sum, rows) => sum + rows, 0)).toBe(EVENTS);
  const report = await check(database);
  expect(broken(report)).toEqual([]);
  expect(report.tables).toMatchObject({ raw_events: 3 * EVENTS });
});

test("a search for an hour does not read the pages of hours that were deleted and whose space is used again", async () => {
  await using worker = await freshStore();
  const { database, store } = worker;
  const { sql } = database;
  let offset = 0;
  const storeHours = async (...hours: number[]) => {
    for (const hour of hours) {
      await store.commit(batchFrom(offset, eventsOfHour(hour, EVENTS)));
      offset += EVENTS;
    }
  };
  const blocksOf = async (hour: number): Promise<number> => {
    const begin = new Date(hourMs(hour)).toISOString();
    const plan = await sql.unsafe(`
      set enable_seqscan = off;
      explain (analyze) select from raw_events
        where "timestamp" >= '${begin}' and "timestamp" < timestamptz '${begin}' + interval '1 hour'`);
    const text = JSON.stringify(plan);
    return Number(/Heap Blocks: lossy=(\d+)/.exec(text)?.[1] ?? 0);
  };
  await storeHours(5, 6, 7, 8);
  await sql`vacuum raw_events`;
  const before = await blocksOf(5);
  expect(before).toBeGreaterThan(0);
  await prune(database, { rawEvents: daysTo(8) });
  await sql`vacuum raw_events`;
  await storeHours(9, 10, 11);
  // Where the last range of pages is not full, it has no summary and is read.
  expect(await blocksOf(5)).toBeLessThan(before);
  expect(broken(await check(database))).toEqual([]);
});
