import { expect, test } from "bun:test";
import { formatProofs, formatReport } from "../../shared/store/check/format.ts";
import {
  type CheckReport,
  faultsOf,
  type Invariant,
  makeInvariant,
  type PartitionReport,
} from "../../shared/store/check/report.ts";

const PARTITION: PartitionReport = {
  topic: "user-events",
  topic_id: "AAAAAAAAQACAAAAAAAAAAA",
  partition: 0,
  reading: 0,
  first_offset: 0,
  next_offset: 1_234_567,
  consumed: 1_234_567,
  deleted: 0,
  gaps: 0,
  stored: 1_234_560,
  duplicates: 4,
  dead_lettered: 3,
  leader_epoch: null,
  updated_at: "2026-03-14T09:26:53.589Z",
  closed_at: null,
  lag: null,
  lag_problem: null,
};
const HOLDS: Invariant = { name: "stored_events_kept", ok: true, detail: "3 events stored, 3 rows" };
const FAILS: Invariant = { name: "short", ok: false, detail: "1 too few" };
const REPORT: CheckReport = {
  ok: true,
  invariants: [HOLDS],
  trusted_hours: null,
  tables: { raw_events: 1_234_560 },
  partitions: [PARTITION],
  unread_partitions: [],
  dead_letters: { not_json: 2, tombstone: 1 },
  dead_letter_states: { open: 2, discarded: 1 },
  hours: [],
  newest_events: [],
};

test("the proofs have a line each and end with the verdict", () => {
  expect(formatProofs({ ok: true, invariants: [HOLDS] })).toBe(
    "proofs\n  ok     stored_events_kept  3 events stored, 3 rows\n\nok: all 1 proofs hold\n",
  );
  expect(formatProofs({ ok: false, invariants: [HOLDS, FAILS] })).toBe(
    "proofs\n  ok     stored_events_kept  3 events stored, 3 rows\n  FALSE  short               1 too few\n\n" +
      "FALSE: 1 of 2 proofs does not hold\n",
  );
  expect(formatProofs({ ok: false, invariants: [FAILS, FAILS] })).toEndWith(
    "FALSE: 2 of 2 proofs do not hold\n",
  );
});

test("a report has all of its sections", () => {
  const text = formatReport(REPORT);
  for (const title of [
    "tables",
    "newest events",
    "hours",
    "offsets",
    "dead letters",
    "dead letters by state",
    "proofs",
  ]) {
    expect(text).toMatch(new RegExp(`^${title}$`, "m"));
  }
  expect(text).toContain("  raw_events  1,234,560\n");
  expect(text).toContain("  tombstone        1\n");
});

test("the lag is a column where it was requested, with the reason where it is unknown", () => {
  expect(formatReport(REPORT)).not.toContain("lag");
  const known = formatReport({ ...REPORT, partitions: [{ ...PARTITION, lag: 12_345 }] });
  expect(known).toMatch(/ lag\n.* 12,345\n/);
  const unknown = formatReport({
    ...REPORT,
    partitions: [{ ...PARTITION, lag_problem: "Kafka does not answer" }],
  });
  expect(unknown).toMatch(/ lag\n.* Kafka does not answer\n/);
});

test("partitions that were never read are listed with a warning, where there are any", () => {
  expect(formatReport(REPORT)).not.toContain("never read");
  expect(formatReport({ ...REPORT, unread_partitions: null })).not.toContain("never read");
  const unread = { topic: "user-events", topic_id: "AAAAAAAAQACAAAAAAAAAAA" };
  const text = formatReport({
    ...REPORT,
    unread_partitions: [
      { ...unread, partition: 3, records: 1200 },
      { ...unread, partition: 5, records: null },
    ],
  });
  expect(text).toMatch(
    /^partitions never read into this database\n.*\n {2}user-events +3 +1,200\n {2}user-events +5 +Kafka does not say\n {2}warning: Kafka holds 1,200 records in them\./m,
  );
  expect(text).toContain("ok: all 1 proofs hold");
});

test("a long list of partitions is cut, and its title names the cut", () => {
  const partitions = Array.from({ length: 1_200 }, (_, partition) => ({ ...PARTITION, partition }));
  const text = formatReport({ ...REPORT, partitions });
  expect(text).toContain("offsets (the first 50 of 1,200)");
  expect(text.split("\n").length).toBeLessThan(80);
});

test("values from outside cannot steer the terminal", () => {
  const evil = "a\u001b[31m\nb\u202e\u0007";
  const text = formatReport({
    ...REPORT,
    ok: false,
    invariants: [{ ...FAILS, detail: evil }],
    newest_events: [{ event_id: evil, user_id: evil, event_type: evil, timestamp: "t", processed_at: "p" }],
  });
  expect(text.replaceAll("\n", "")).not.toMatch(/\p{C}/u);
  expect(text).toContain("a\\u{1b}[31m\\u{a}b\\u{202e}\\u{7}");
});

test("the first contradictions are spelled out, and the others are counted", () => {
  const faults = faultsOf([1, 2, 3, 4, 5, 6], (row) => (row > 1 ? `row ${row}` : undefined));
  expect(makeInvariant("name", "6 rows", faults)).toEqual({
    name: "name",
    ok: false,
    detail: "6 rows; wrong: row 2; row 3; row 4; and 2 more",
  });
  expect(makeInvariant("name", "6 rows", { count: 0, samples: [] })).toEqual({
    name: "name",
    ok: true,
    detail: "6 rows",
  });
});
