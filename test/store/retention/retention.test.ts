// Tests that old hours are sealed and pruned step by step, and that the figures are proved after each step.
import { describe, expect, test } from "bun:test";
import { Retention } from "../../../shared/store/retention/retention.ts";
import { readBehind } from "../../../shared/store/retention/behind.ts";
import { type RetentionDays, raiseCutoffs, sealHours } from "../../../shared/store/retention/cutoff.ts";
import { rewind } from "../../../shared/store/readings.ts";
import { batchOf, eventText } from "../../pipeline/record.ts";
import { eventually } from "../../support/eventually.ts";
import {
  batchFrom,
  freshStore,
  ledgerOf,
  openSession,
  openStore,
  partitionKey,
  rowCounts,
} from "../pipeline-database.ts";
import { runRebuild } from "../rebuild/run-rebuild.ts";
import { broken, check, daysTo, eventsOfHour, fillHours, hourMs, prune } from "./run-retention.ts";

const EVENTS = 1500;

describe("the retention", () => {
  test("deletes the raw events of whole hours below the cut-off, and the proofs hold after every step", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await fillHours(worker, EVENTS);
    const before = await check(database);
    let steps = 0;
    for (let taken = 1; taken > 0; steps += taken) {
      taken = 0;
      const progress = {
        onStep: (table: string) => (taken += table === "raw_events" ? 1 : 0),
        isToStop: () => taken > 0,
      };
      await prune(database, { rawEvents: daysTo(8) }, progress);
      expect(broken(await check(database))).toEqual([]);
    }
    expect(steps).toBeGreaterThan(6);
    const after = await check(database);
    expect(after.tables).toMatchObject({ raw_events: 2 * EVENTS, sealed_hours: 6, hourly_users: 5 * 2 * 37 });
    expect(after.hours).toEqual(before.hours);
    // Nothing is left to do.
    const again: number[] = [];
    await prune(database, { rawEvents: daysTo(8) }, { onStep: (_table, rows) => again.push(rows) });
    expect(again).toEqual([0]);
  });

  test("can be killed between any two steps, and inside one", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await fillHours(worker, EVENTS);
    const days = { rawEvents: daysTo(8), hourlyUsers: daysTo(7) };
    let kills = 0;
    for (let isKilled = true; isKilled; ) {
      isKilled = false;
      // Its backend is ended in the middle of a step, which is rolled back, after some others.
      const session = await openSession(database, { role: "main" });
      let rows = 0;
      await new Retention(days)
        .run(session, {
          isToStop: () => false,
          onStep: (_table, deleted) => {
            rows += deleted;
            if (rows > kills * 100 && deleted > 0) session.destroy();
          },
        })
        .catch(() => (isKilled = true));
      await session.close();
      kills += isKilled ? 1 : 0;
      expect(broken(await check(database))).toEqual([]);
    }
    expect(kills).toBeGreaterThan(2);
    const report = await check(database);
    expect(report.tables).toMatchObject({ raw_events: 2 * EVENTS, hourly_users: 3 * 2 * 37 });
  });

  test("deletes the users of hours, whose figures stay, and stores no event of such an hour", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const offset = await fillHours(worker, 200);
    const before = await check(database);
    await prune(database, { hourlyUsers: daysTo(7) });
    const pruned = await check(database);
    expect(broken(pruned)).toEqual([]);
    expect(pruned.tables).toMatchObject({ raw_events: 1000, hourly_users: 3 * 2 * 37 });
    expect(pruned.hours).toEqual(before.hours);
    await store.commit(batchFrom(offset, [...eventsOfHour(6, 2, "late"), ...eventsOfHour(7, 3, "late")]));
    expect(await ledgerOf(database)).toMatchObject({ stored: 1003, dead_lettered: 2 });
    const report = await check(database);
    expect(broken(report)).toEqual([]);
    expect(report.dead_letters).toEqual({ expired: 2 });
  });

  test("makes dead letters of events below the cut-off, of those that are stored too", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const offset = await fillHours(worker, 10);
    await prune(database, { rawEvents: daysTo(8) });
    await store.commit(
      batchFrom(offset, [
        ...eventsOfHour(7, 10),
        ...eventsOfHour(8, 10),
        eventText({ event_id: "new", timestamp: "2026-03-14T07:59:59.999999Z" }),
        eventText({ event_id: "edge", timestamp: "2026-03-14T08:00:00Z" }),
        "{",
      ]),
    );
    expect(await ledgerOf(database)).toMatchObject({ stored: 51, duplicates: 10, dead_lettered: 12 });
    const report = await check(database);
    expect(broken(report)).toEqual([]);
    expect(report.dead_letters).toEqual({ expired: 11, not_json: 1 });
    const [letter] = await database.sql<[{ error: string }]>`
      select error from dead_letter_events where reason = 'expired' order by "offset" desc limit 1`;
    expect(letter.error).toBe(
      "the timestamp 2026-03-14T07:59:59.999Z is past the retention: events before 2026-03-14T08:00:00.000Z are not stored any more",
    );
  });

  test("leaves hours that are past it to a rebuild and a check as they were sealed", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await fillHours(worker, 30);
    await prune(database, { rawEvents: daysTo(8) });
    const named = { range: { from: "2026-03-14T07:00:00.000Z", to: "infinity" } };
    await expect(runRebuild(database, named)).rejects.toThrow(
      "the hours before 2026-03-14T08:00:00.000Z are past their retention",
    );
    expect((await runRebuild(database)).names).toEqual([]);
    await database.sql`update hourly_aggregations set total_events = total_events + 1, unsaved_events = unsaved_events + 1`;
    await database.sql`update pipeline_offsets set stored = stored + 10, consumed = consumed + 10, next_offset = next_offset + 10`;
    expect(broken(await check(database))).toEqual([
      expect.stringMatching(
        /^sealed_hours_unchanged: 6 hours .*; wrong: 2026-03-14T05:00:00Z click was sealed with 15 events.* 0 unsaved, 15 late, and has 16 events.*; and 3 more$/,
      ),
    ]);
  });

  test("stores a record that is read again once, whether its hour is pruned or not", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await fillHours(worker, 30);
    await prune(database, { rawEvents: daysTo(7) });
    const session = await openSession(database, { role: "main" });
    const { rewound } = await session.transaction(20_000, (tx) =>
      rewind(tx, [{ ...partitionKey(0), at: 0 }]),
    );
    await session.close();
    expect(rewound).toHaveLength(1);
    await using again = await openStore(database);
    const values = [5, 6, 7, 8, 9].flatMap((hour) => eventsOfHour(hour, 30));
    await again.store.commit(
      batchOf(
        values.map((value, offset) => ({ offset, value })),
        [{ ...partitionKey(0), reading: 1, from: 0 }],
      ),
    );
    expect(await ledgerOf(database)).toMatchObject({ stored: 0, duplicates: 90, dead_lettered: 60 });
    expect(broken(await check(database))).toEqual([]);
  });

  test("deletes dead letters and metrics by age, and the letters still count", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const { sql } = database;
    await store.commit(batchFrom(0, ["{", "}", "[]", eventText(), undefined, "1"]));
    await sql`update dead_letter_events set first_seen_at = now() - interval '40 hours'`;
    await sql`update dead_letter_events set state = 'discarded', discard_reason = 'old' where "offset" = 1`;
    await sql`update pipeline_offsets set discarded = 1`;
    await store.commit(batchFrom(6, ["{", "2"]));
    await sql`update dead_letter_events set first_seen_at = now() - interval '20 hours' where "offset" >= 6`;
    await sql`
      insert into pipeline_metrics (metric_name, metric_value, recorded_at)
      select 'm', hours, now() - make_interval(hours => hours) from generate_series(60, 1, -1) as hours`;
    await prune(database, { deadLetters: 1, pipelineMetrics: 1 });
    const report = await check(database);
    expect(broken(report)).toEqual([]);
    expect(report.tables).toMatchObject({ dead_letter_events: 2, pipeline_metrics: 23 });
    expect(await sql`select state, letters::int from pruned_dead_letters order by state`).toMatchObject([
      { state: "discarded", letters: 1 },
      { state: "open", letters: 4 },
    ]);
    await sql`delete from dead_letter_events where "offset" = 7`;
    expect(broken(await check(database))).toEqual([
      expect.stringContaining("dead_letters_kept: 7 dead letters counted"),
    ]);
  });

  test("lets a check prove the hours from one on, and take the others on trust", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const { sql } = database;
    await fillHours(worker, 30);
    await prune(database, { rawEvents: daysTo(7) });
    const since = { since: "2026-03-14T09:00:00.000Z" };
    const report = await check(database, since);
    expect(broken(report)).toEqual([]);
    expect(report.tables).toMatchObject({ raw_events: 30, hourly_users: 30 });
    expect(report.trusted_hours).toEqual({ before: since.since, hours: 8, sealed_hours: 4, events: 120 });
    // What is not read is not proved: the durations of an hour before.
    const wrong = sql`update hourly_aggregations set duration_count = duration_count - 1`;
    await sql`${wrong} where aggregation_hour = '2026-03-14T08:00Z' and event_type = 'click'`;
    expect(broken(await check(database, since))).toEqual([]);
    expect(broken(await check(database))).toHaveLength(1);
    // An event that an hour has too many does not add up with the partitions.
    await sql`update hourly_aggregations set total_events = total_events + 1
      where aggregation_hour = '2026-03-14T08:00Z' and event_type = 'click'`;
    expect(broken(await check(database, since)).map((text) => text.split(":")[0])).toEqual([
      "stored_events_kept",
      "hours_hold_every_event",
    ]);
    await sql`delete from raw_events where "timestamp" >= '2026-03-14T09:00Z'`;
    expect(broken(await check(database, since)).map((text) => text.split(":")[0])).toContain(
      "hours_recomputed",
    );
  });

  test("tells how much older than its retention the oldest row of each table is", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const { sql } = database;
    const offset = await fillHours(worker, 10);
    await store.commit(batchFrom(offset, ["{"]));
    await sql`update dead_letter_events set first_seen_at = now() - interval '40 hours'`;
    await sql`insert into pipeline_metrics (metric_name, metric_value, recorded_at) values ('m', 1, now() - interval '30 hours')`;
    const days = { rawEvents: daysTo(8), hourlyUsers: daysTo(7), deadLetters: 1, pipelineMetrics: 1 };
    const session = await openSession(database, { role: "main" });
    const hoursBehind = async (some: RetentionDays) =>
      Object.fromEntries(
        [...(await readBehind(session.sql, some))].map(([table, seconds]) => [
          table,
          Math.round(seconds / 3600),
        ]),
      );
    await session.transaction(20_000, async (tx) => {
      await raiseCutoffs(tx, days);
      await sealHours(tx, 100);
    });
    expect(await hoursBehind(days)).toEqual({
      raw_events: 2,
      hourly_users: 1,
      dead_letter_events: 16,
      pipeline_metrics: 6,
    });
    await prune(database, days);
    const none = { raw_events: 0, hourly_users: 0, dead_letter_events: 0, pipeline_metrics: 0 };
    expect(await hoursBehind(days)).toEqual(none);
    // Nothing has raised the cut-off for 5 hours.
    expect(await hoursBehind({ rawEvents: daysTo(13) })).toEqual({ raw_events: 4 });
    await session.close();
  });

  test("only raises the cut-off", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await prune(database, { rawEvents: daysTo(8) });
    await prune(database, { rawEvents: daysTo(5), hourlyUsers: daysTo(6) });
    const [row] = await database.sql`
      select raw_events_cutoff, hourly_users_cutoff, retention_cutoff, users_epoch::int from pipeline_state`;
    expect({ ...row }).toEqual({
      raw_events_cutoff: new Date(hourMs(8)),
      hourly_users_cutoff: new Date(hourMs(6)),
      retention_cutoff: new Date(hourMs(8)),
      users_epoch: 2,
    });
  });

  test("lets one process take steps at a time", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await fillHours(worker, 300);
    let other: boolean | undefined;
    const session = await openSession(database, { role: "main" });
    await session.transaction(20_000, async (tx) => {
      await tx`select pg_advisory_xact_lock(7061907)`;
      other = await prune(database, { rawEvents: daysTo(8) });
    });
    await session.close();
    expect(other).toBe(false);
    expect(await rowCounts(database)).toMatchObject({ raw_events: 1500 });
    const both = await Promise.all([0, 1].map(() => prune(database, { rawEvents: daysTo(8) })));
    expect(both).toContain(true);
    expect(broken(await check(database))).toEqual([]);
  });
});

/** Waits until so many sessions of a database wait for a lock. */
async function untilWaiting({ sql }: Awaited<ReturnType<typeof freshStore>>["database"]): Promise<void> {
  await eventually("a session waits for a lock", async () => {
    const [row] = await sql<[{ waiting: number }]>`
      select count(*)::int as waiting from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    return row.waiting > 0;
  });
}

describe("a transaction of a worker that has read the cut-off before it rose", () => {
  test("is repeated where its hour is being sealed, and stores nothing there", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const offset = await fillHours(worker, 50);
    const sealer = await openSession(database, { role: "main" });
    // now() is when the transaction begins.
    const days = { rawEvents: daysTo(8) };
    let committing: Promise<unknown> | undefined;
    await sealer.transaction(20_000, async (tx) => {
      await tx`select from hourly_aggregations order by aggregation_hour, event_type for update`;
      committing = store.commit(batchFrom(offset, eventsOfHour(7, 4, "late")));
      await untilWaiting(database);
      await raiseCutoffs(tx, days);
      await sealHours(tx, 100);
    });
    await committing;
    await sealer.close();
    expect(await ledgerOf(database)).toMatchObject({ stored: 250, dead_lettered: 4 });
    await prune(database, { rawEvents: daysTo(8) });
    expect(broken(await check(database))).toEqual([]);
  });

  test("is waited for by the sealing where it has added to the hour", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const offset = await fillHours(worker, 50);
    const gate = Promise.withResolvers<void>();
    const committing = store.commit(batchFrom(offset, eventsOfHour(7, 4, "late")), gate.promise);
    await eventually("the worker has run its last statement", async () => {
      const [row] = await database.sql<[{ open: number }]>`
        select count(*)::int as open from pg_stat_activity
        where datname = current_database() and state = 'idle in transaction' and query like '%next_offset = b.to_offset%'`;
      return row.open === 1;
    });
    const pruning = prune(database, { rawEvents: daysTo(8) });
    await untilWaiting(database);
    gate.resolve();
    await Promise.all([committing, pruning]);
    expect(await ledgerOf(database)).toMatchObject({ stored: 254, dead_lettered: 0 });
    const report = await check(database);
    expect(broken(report)).toEqual([]);
    expect(report.tables).toMatchObject({ raw_events: 100, sealed_hours: 6 });
  });

  test("has its new type of an old hour sealed by the next run", async () => {
    await using worker = await freshStore();
    const { database, store } = worker;
    const offset = await fillHours(worker, 50);
    const gate = Promise.withResolvers<void>();
    const late = eventText({ event_id: "late", event_type: "login", timestamp: "2026-03-14T06:30:00Z" });
    const committing = store.commit(batchFrom(offset, [late]), gate.promise);
    await eventually("the worker has run its last statement", async () => {
      const [row] = await database.sql<[{ open: number }]>`
        select count(*)::int as open from pg_stat_activity
        where datname = current_database() and state = 'idle in transaction' and query like '%next_offset = b.to_offset%'`;
      return row.open === 1;
    });
    await prune(database, { rawEvents: daysTo(8) });
    gate.resolve();
    await committing;
    const between = await check(database);
    expect(broken(between)).toEqual([]);
    expect(between.tables).toMatchObject({ raw_events: 101, sealed_hours: 6 });
    await prune(database, { rawEvents: daysTo(8) });
    const report = await check(database);
    expect(broken(report)).toEqual([]);
    expect(report.tables).toMatchObject({ raw_events: 100, sealed_hours: 7 });
  });

  test("of another worker does not hold up the first", async () => {
    await using worker = await freshStore(2);
    await using other = await openStore(worker.database);
    await fillHours(worker, 20);
    await prune(worker.database, { rawEvents: daysTo(8) });
    await Promise.all([
      worker.store.commit(batchFrom(100, eventsOfHour(9, 5, "mine"))),
      other.store.commit(batchFrom(0, eventsOfHour(5, 5, "theirs"), 1)),
    ]);
    expect(broken(await check(worker.database))).toEqual([]);
  });
});
