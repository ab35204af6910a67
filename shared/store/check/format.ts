// Formats a report as text: tables of what the database contains, then the proofs.

import { type CheckReport, type Invariant } from "./report.ts";
import { describeTrust } from "./sealed-hours.ts";
import { count, printable } from "../../text/format.ts";
import { formatTable } from "../../text/table.ts";

/** The most partitions that are listed one by one. */
const MAX_PARTITIONS = 50;

export function formatReport(report: CheckReport): string {
  const { tables, newest_events, hours, dead_letters, dead_letter_states } = report;
  return [
    ...section("tables", ["table", "rows"], Object.entries(tables)),
    ...section(
      "newest events",
      ["timestamp", "event_type", "user_id", "event_id", "processed_at"],
      newest_events.map((event) => [
        event.timestamp,
        event.event_type,
        event.user_id,
        event.event_id,
        event.processed_at,
      ]),
    ),
    ...section(
      title("hours", hours.length, tables["hourly_aggregations"] ?? 0, "newest"),
      ["hour", "event_type", "events", "users", "avg_seconds", "late", "unsaved", "state"],
      hours.map((hour) => [
        hour.aggregation_hour.slice(0, 16).replace("T", " "),
        hour.event_type,
        hour.total_events,
        hour.unique_users,
        hour.avg_duration_seconds,
        hour.late_events,
        hour.unsaved_events,
        hour.closed_at === null ? "open" : "closed",
      ]),
    ),
    ...partitionLines(report),
    ...unreadLines(report),
    ...section("dead letters", ["reason", "records"], Object.entries(dead_letters)),
    ...section("dead letters by state", ["state", "records"], Object.entries(dead_letter_states)),
    ...(report.trusted_hours === null ? [] : [describeTrust(report.trusted_hours), ""]),
    formatProofs(report),
  ].join("\n");
}

/** One line for each proof, and the verdict. */
export function formatProofs({ ok, invariants }: Pick<CheckReport, "ok" | "invariants">): string {
  const width = Math.max(0, ...invariants.map(({ name }) => name.length));
  const wrong = invariants.filter((invariant) => !invariant.ok).length;
  return [
    "proofs",
    ...invariants.map((invariant) => invariantLine(invariant, width)),
    "",
    ok
      ? `ok: all ${invariants.length} proofs hold`
      : `FALSE: ${wrong} of ${invariants.length} proofs ${wrong === 1 ? "does" : "do"} not hold`,
    "",
  ].join("\n");
}

function invariantLine({ name, ok, detail }: Invariant, width: number): string {
  return `  ${(ok ? "ok" : "FALSE").padEnd(5)}  ${name.padEnd(width)}  ${printable(detail)}`;
}

function partitionLines({ partitions }: CheckReport): string[] {
  const head = ["topic", "p", "first", "next", "consumed", "deleted", "gaps", "stored", "duplicates", "dead"];
  const isLagRequested = partitions.some(({ lag, lag_problem }) => lag !== null || lag_problem !== null);
  const listed = partitions.slice(0, MAX_PARTITIONS);
  return section(
    title("offsets", listed.length, partitions.length, "first"),
    isLagRequested ? [...head, "lag"] : head,
    listed.map((row) => [
      row.topic,
      row.reading === 0 ? row.partition : `${row.partition} (reading ${row.reading})`,
      row.first_offset,
      row.next_offset,
      row.consumed,
      row.deleted,
      row.gaps,
      row.stored,
      row.duplicates,
      row.dead_lettered,
      ...(isLagRequested ? [row.lag ?? row.lag_problem] : []),
    ]),
  );
}

/** A warning and not a proof: a topic may be new, or its consumer not started yet. */
function unreadLines({ unread_partitions }: CheckReport): string[] {
  if (unread_partitions === null || unread_partitions.length === 0) return [];
  const listed = unread_partitions.slice(0, MAX_PARTITIONS);
  const records = unread_partitions.reduce((sum, partition) => sum + (partition.records ?? 0), 0);
  return [
    ...section(
      title("partitions never read into this database", listed.length, unread_partitions.length, "first"),
      ["topic", "p", "records"],
      listed.map((row) => [row.topic, row.partition, row.records ?? "Kafka does not say"]),
    ).slice(0, -1),
    `  warning: Kafka holds ${count(records)} records in them. Does their consumer run, and does it write to this database?`,
    "",
  ];
}

function title(name: string, listed: number, all: number, which: string): string {
  return listed === all ? name : `${name} (the ${which} ${listed} of ${count(all)})`;
}

function section(...[name, head, rows]: [string, ...Parameters<typeof formatTable>]): string[] {
  return [name, ...(rows.length === 0 ? ["  none"] : formatTable(head, rows)), ""];
}
