// Tests that every invariant of a healthy database holds, and that its figures are those of the commits.
import { expect, test } from "bun:test";
import type { RejectionReason } from "../../shared/event.ts";
import { checkDatabase } from "../../shared/store/check/check.ts";
import { formatReport } from "../../shared/store/check/format.ts";
import { eventText } from "../pipeline/record.ts";
import { batchFrom, freshStore, openSession, pipelineDatabase } from "../store/pipeline-database.ts";
import { setHostileSettings } from "../store/hostile-settings.ts";
import { run, temporaryFile } from "../dead-letters/letters.ts";
import { broken, check, healthyDatabase, partlyUnsavedDatabase } from "./checked-database.ts";

const PROOFS = [
  "offsets_accounted_for",
  "records_accounted_for",
  "one_current_reading",
  "counters_not_negative",
  "stored_events_kept",
  "durations_in_range",
  "high_value_flags_recomputed",
  "hours_hold_every_event",
  "hour_counts_consistent",
  "hours_recomputed",
  "hourly_users_recomputed",
  "unique_users_counted",
  "closed_hours_final",
  "sealed_hours_unchanged",
  "dead_letters_kept",
  "dead_letters_within_offsets",
  "dead_letters_rejected_again",
];

const allHold = PROOFS.map((name) => ({ name, ok: true }));

test("every invariant holds whatever settings the database gives its sessions", async () => {
  await using database = await healthyDatabase();
  const before = await check(database);
  await setHostileSettings(database);
  const report = await check(database);
  expect(report.invariants).toEqual(before.invariants);
  expect(report.ok).toBe(true);
});

test("every invariant holds after commits of every kind of record", async () => {
  await using database = await healthyDatabase();
  const report = await check(database);
  expect(report.invariants.map(({ name, ok }) => ({ name, ok }))).toEqual(allHold);
  expect(report.ok).toBe(true);
  expect(report.tables).toEqual({
    raw_events: 18,
    hourly_aggregations: 4,
    hourly_users: 8,
    dead_letter_events: 16,
    pipeline_offsets: 3,
    pipeline_metrics: 0,
    sealed_hours: 0,
    pruned_dead_letters: 0,
  });
  expect(report.partitions).toMatchObject([
    {
      first_offset: 2,
      next_offset: 28,
      consumed: 21,
      deleted: 0,
      gaps: 5,
      stored: 17,
      duplicates: 2,
      dead_lettered: 2,
    },
    {
      first_offset: 0,
      next_offset: 16,
      consumed: 16,
      deleted: 0,
      gaps: 0,
      stored: 1,
      duplicates: 1,
      dead_lettered: 14,
    },
    { first_offset: 0, next_offset: 0, consumed: 0, lag: null, lag_problem: null },
  ]);
  const once: RejectionReason[] = [
    "too_large",
    "not_utf8",
    "too_deep",
    "not_an_object",
    "wrong_type",
    "out_of_range",
    "invalid_timestamp",
    "future_timestamp",
    "unstorable_text",
    "refused_by_database",
  ];
  expect(report.dead_letters).toEqual({
    tombstone: 2,
    not_json: 2,
    missing_field: 2,
    ...Object.fromEntries(once.map((reason) => [reason, 1])),
  });
  expect(report.hours.map(({ aggregation_hour, event_type }) => `${aggregation_hour} ${event_type}`)).toEqual(
    [
      "2026-03-14T09:00:00.000Z page_view",
      "2026-03-14T09:00:00.000Z purchase",
      "2026-03-14T08:00:00.000Z page_view",
      "2026-02-01T00:00:00.000Z page_view",
    ],
  );
  expect(report.hours[2]).toMatchObject({
    total_events: 7,
    unique_users: 5,
    total_duration_seconds: 1.75,
    unsaved_events: 0,
    closed_at: null,
  });
  expect(report.newest_events[0]).toMatchObject({
    event_type: "purchase",
    processed_at: "2026-03-14T09:26:53.589Z",
  });
});

test("every invariant holds for an empty database", async () => {
  await using database = await pipelineDatabase();
  const report = await check(database);
  expect(report.invariants.map(({ name, ok }) => ({ name, ok }))).toEqual(allHold);
  expect(report).toMatchObject({ ok: true, partitions: [], hours: [], newest_events: [], dead_letters: {} });
  expect(formatReport(report)).toContain("newest events\n  none\n");
});

test("events without raw rows are proven by their sums and reported as such", async () => {
  await using database = await partlyUnsavedDatabase();
  const report = await check(database);
  expect(report.invariants.map(({ name, ok }) => ({ name, ok }))).toEqual(allHold);
  const details = Object.fromEntries(report.invariants.map(({ name, detail }) => [name, detail]));
  expect(details["stored_events_kept"]).toBe("21 events stored, 18 rows of raw_events + 3 without one");
  expect(details["hours_recomputed"]).toContain("2 of them have events without raw rows");
  expect(report.hours.map(({ unsaved_events }) => unsaved_events).toSorted((a, b) => a - b)).toEqual([
    0, 0, 0, 1, 2,
  ]);
});

test("every invariant holds in each snapshot while batches are committed", async () => {
  await using opened = await freshStore();
  const { database } = opened;
  const session = await openSession(database, { role: "check" });
  const enough = { isSeen: false };
  const commits = (async () => {
    for (let from = 0; !enough.isSeen; from += 3) {
      const event = eventText({
        event_id: `e${from}`,
        user_id: `user ${from % 50}`,
        duration_seconds: from / 8,
      });
      await opened.store.commit(batchFrom(from, [event, event, "{"]));
    }
  })();
  const seen = new Set<number>();
  try {
    while (seen.size < 5) {
      const report = await checkDatabase(session.sql);
      expect(report.invariants.filter(({ ok }) => !ok)).toEqual([]);
      seen.add(report.partitions[0]!.next_offset);
    }
  } finally {
    enough.isSeen = true;
    await commits;
    await session.close();
  }
});

test("every invariant holds after PostgreSQL accepts what it refused, and the dead letters were replayed", async () => {
  await using database = await healthyDatabase();
  await database.sql`alter table raw_events alter event_data type jsonb`;
  // A letter that can be replayed is shown.
  expect(broken(await check(database))).toEqual(["dead_letters_rejected_again"]);
  const mend = "export default (value: object) => ({ ...value, event_data: { mended: true } });";
  await using file = await temporaryFile("mend.ts", mend);
  const { stdout } = await run(database, ["replay", "--reason", "refused_by_database", "--edit", file.path]);
  expect(stdout).toContain("1 stored");
  expect(broken(await check(database))).toEqual([]);
});
