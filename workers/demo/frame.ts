// A snapshot and the size of a terminal in; the lines of one frame out.
import { bar, sparkline } from "./bars.ts";
import { bytes, clock, count, duration, plural, printable, rate } from "../../shared/text/format.ts";
import type { Palette } from "./colors.ts";
import { PLANTED_EVERY } from "./injected-faults.ts";
import type { Flow, HourRow, Snapshot } from "./snapshot.ts";

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/** Lines that belong together; blocks are set apart by an empty line where there is room for it. */
interface Block {
  readonly lines: readonly string[];
  /** The least important one goes first where there is no room. */
  readonly importance: number;
}

/** From here on the hours and the lag stand side by side. */
const SIDE_BY_SIDE_COLUMNS = 92;
const HOURS_COLUMNS = 56;
/** Importance of what is shown only where everything else has all the room it wants. */
const OPTIONAL = 1;
const MARGIN = " ";
const LABEL_COLUMNS = 10;
const RATE_COLUMNS = 11;
const TOTAL_COLUMNS = 12;
/** A bar is full at this lag, unless one is longer. */
const LEAST_FULL_LAG = 100;
const LAG_WARNING = 1000;
const LAG_ALARM = 5000;
const LAG_COLUMNS = 40;

/** At most `rows` lines, none wider than `columns`. */
export function renderFrame(snapshot: Snapshot, { columns, rows }: FrameSize, ink: Palette): string[] {
  const width = Math.max(1, columns - 2 * MARGIN.length);
  const isWide = columns >= SIDE_BY_SIDE_COLUMNS;
  const hours = renderHours(snapshot.hours, ink);
  const blocks: readonly Block[] = [
    { importance: 10, lines: renderTitle(snapshot, width, ink) },
    { importance: 9, lines: renderFlow(snapshot, width, ink) },
    ...(isWide
      ? [
          {
            importance: 8,
            lines: sideBySide(hours, HOURS_COLUMNS, renderLag(snapshot, width - HOURS_COLUMNS, 1, ink)),
          },
        ]
      : [
          { importance: 8, lines: hours },
          { importance: 5, lines: renderLag(snapshot, width, 2, ink) },
        ]),
    { importance: 6, lines: renderOutcome(snapshot, ink) },
    // At the end they are gone.
    { importance: 7, lines: snapshot.phase === "done" ? [] : renderEndpoints(snapshot, ink) },
    { importance: OPTIONAL, lines: renderNewestDeadLetters(snapshot, ink) },
  ].filter(({ lines }) => lines.length > 0);
  // The last column stays free: what a terminal does after writing there differs.
  return fit(blocks, rows).map((line) => clip(MARGIN + line, columns - 1).trimEnd());
}

function renderTitle(
  { phase, elapsedMs, limitMs, rate: target, isHeldBack }: Snapshot,
  width: number,
  ink: Palette,
): string[] {
  const asked = Number.isFinite(target) ? `${count(target)} records/s asked for` : "as fast as it goes";
  const time =
    limitMs === undefined ? clock(elapsedMs) : `${clock(Math.min(elapsedMs, limitMs))} of ${clock(limitMs)}`;
  const title = `${ink.title("event-pipeline demo")}  ${ink.quiet(asked)}`;
  return [justify(title, ink.figure(time), width), renderPhase(phase, isHeldBack, ink)];
}

function renderPhase(phase: Snapshot["phase"], isHeldBack: boolean, ink: Palette): string {
  switch (phase) {
    case "producing":
      return isHeldBack
        ? ink.warning("the producer waits: the consumer is 10,000 records behind")
        : ink.quiet("Ctrl-C ends it, and shows the ledger");
    case "finishing":
      return ink.warning("finishing: what was published is being consumed (Ctrl-C again stops at once)");
    case "draining":
      return ink.warning("finishing: the consumer drains (Ctrl-C again stops at once)");
    case "done":
      return ink.good("done: all that was published is consumed");
  }
}

function renderFlow(
  { produced, consumed, latency, rate: target }: Snapshot,
  width: number,
  ink: Palette,
): string[] {
  const graphColumns = width - LABEL_COLUMNS - RATE_COLUMNS - 1 - TOTAL_COLUMNS - 2 - "in PostgreSQL".length;
  const seen = [...produced.history, ...consumed.history].reduce((a, b) => Math.max(a, b), 0);
  const most = Math.max(seen, Number.isFinite(target) ? target : 0);
  const row = (label: string, paint: Palette["produced"], flow: Flow, where: string): string => {
    const graph = sparkline(flow.history, Math.max(0, graphColumns), most);
    return (
      label.padEnd(LABEL_COLUMNS) +
      ink.figure(`${rate(flow.perSecond)}/s`.padStart(RATE_COLUMNS - 1)) +
      `  ${paint(graph)}${ink.figure(count(flow.total).padStart(TOTAL_COLUMNS))}  ${ink.quiet(where)}`
    );
  };
  const waiting = ink.quiet("no event yet".padStart(RATE_COLUMNS));
  const age =
    latency === undefined
      ? waiting
      : `${ink.figure(duration(latency.p50).padStart(RATE_COLUMNS - 1))} ${ink.quiet("p50")}  ` +
        `${ink.figure(duration(latency.p99))} ${ink.quiet("p99, from an event's creation to its commit")}`;
  return [
    row("produced", ink.produced, produced, "in Kafka"),
    row("consumed", ink.consumed, consumed, "in PostgreSQL"),
    "latency".padEnd(LABEL_COLUMNS) + age,
  ];
}

function renderHours(rows: readonly HourRow[], ink: Palette): string[] {
  const hour = rows[0]?.hour;
  const line = (type: string, events: string, users: string, average: string): string =>
    type.padEnd(19) + events.padStart(11) + users.padStart(11) + average.padStart(11);
  if (hour === undefined)
    return [ink.label(line("hour", "events", "users", "average")), ink.quiet("no event yet")];
  const from = hour.toISOString().slice(11, 16);
  const lines = [ink.label(line(`hour from ${from} UTC`, "events", "users", "average"))];
  for (const row of rows) {
    if (row.hour.getTime() !== hour.getTime()) break;
    const average = row.averageSeconds === null ? "–" : `${row.averageSeconds.toFixed(1)} s`;
    lines.push(
      line(printable(row.eventType).slice(0, 18), count(row.events), count(row.uniqueUsers), average),
    );
  }
  const before = rows.slice(lines.length - 1).reduce((sum, { events }) => sum + events, 0);
  if (before > 0) lines.push(ink.quiet(line("in earlier hours", count(before), "", "")));
  return lines;
}

/** @param perLine partitions beside each other */
function renderLag({ partitions }: Snapshot, width: number, perLine: number, ink: Palette): string[] {
  const total = partitions.reduce((sum, { lag }) => sum + lag, 0);
  const most = partitions.reduce((a, { lag }) => Math.max(a, lag), LEAST_FULL_LAG);
  const columns = Math.min(LAG_COLUMNS, Math.floor(width / perLine) - 2);
  const cells = partitions.map(({ partition, lag }) => {
    const paint = lag >= LAG_ALARM ? ink.bad : lag >= LAG_WARNING ? ink.warning : ink.consumed;
    const barColumns = Math.max(0, columns - 14);
    const filled = bar(lag, barColumns, most);
    return `${`p${partition}`.padEnd(4)}${paint(filled)}${" ".repeat(barColumns - filled.length)} ${count(lag).padStart(8)}  `;
  });
  const lines = [`${ink.label("lag")}${ink.quiet(`  ${plural(total, "record")} not committed yet`)}`];
  const rows = Math.ceil(cells.length / perLine);
  for (let row = 0; row < rows; row++) {
    lines.push(Array.from({ length: perLine }, (_, column) => cells[column * rows + row] ?? "").join(""));
  }
  return lines;
}

function renderOutcome({ outcome, deadLetters }: Snapshot, ink: Palette): string[] {
  const { stored, duplicates, deadLettered } = outcome;
  const reasons = deadLetters
    .map(({ reason, count: letters }) => `${printable(reason)} ${count(letters)}`)
    .join(", ");
  return [
    `${"records".padEnd(LABEL_COLUMNS)}${ink.figure(count(stored))} stored, ${ink.figure(count(duplicates))} ` +
      `${duplicates === 1 ? "duplicate" : "duplicates"}, ${ink.figure(count(deadLettered))} ` +
      (deadLettered === 1 ? "dead letter" : "dead letters"),
    `${"".padEnd(LABEL_COLUMNS)}${ink.quiet(reasons === "" ? "no dead letters yet" : reasons)}`,
    `${"".padEnd(LABEL_COLUMNS)}${ink.quiet(
      `on purpose, 1 record in ${count(PLANTED_EVERY)} is broken and 1 in ${count(PLANTED_EVERY)} repeated`,
    )}`,
  ];
}

function renderNewestDeadLetters({ newestDeadLetters }: Snapshot, ink: Palette): string[] {
  if (newestDeadLetters.length === 0) return [];
  const lines = newestDeadLetters.map(({ partition, offset, reason, error }) => {
    const place = `p${partition} @ ${count(offset)}`.padEnd(16);
    return `${place}${printable(reason).padEnd(20)}${ink.quiet(printable(error))}`;
  });
  return [ink.label("newest dead letters"), ...lines];
}

function renderEndpoints({ endpoints, databaseBytes }: Snapshot, ink: Palette): string[] {
  const size = databaseBytes === undefined ? "" : ink.quiet(`  ${bytes(databaseBytes)}`);
  return [
    `${"console".padEnd(LABEL_COLUMNS)}${ink.link(endpoints.consoleUrl)}${ink.quiet("  in a browser; also /api, /metrics")}`,
    `${"database".padEnd(LABEL_COLUMNS)}${endpoints.psql}${size}`,
    `${"log".padEnd(LABEL_COLUMNS)}${ink.quiet(endpoints.consumerLog)}`,
  ];
}

function fit(blocks: readonly Block[], rows: number): string[] {
  const kept = [...blocks];
  const linesOf = (): number => kept.reduce((sum, { lines }) => sum + lines.length, 0);
  for (;;) {
    const least = kept.reduce((a, b) => (b.importance < a.importance ? b : a));
    const needed = least.importance === OPTIONAL ? linesOf() + kept.length - 1 : linesOf();
    if (needed <= rows || kept.length === 1) break;
    kept.splice(kept.indexOf(least), 1);
  }
  // Room for some of the empty lines only: the upper ones.
  let gaps = rows - linesOf();
  const frame: string[] = [];
  for (const { lines } of kept) {
    if (frame.length > 0 && gaps-- > 0) frame.push("");
    frame.push(...lines);
  }
  return frame.slice(0, Math.max(0, rows));
}

function sideBySide(left: readonly string[], leftColumns: number, right: readonly string[]): string[] {
  return Array.from({ length: Math.max(left.length, right.length) }, (_, index) => {
    const text = left[index] ?? "";
    return text + " ".repeat(Math.max(0, leftColumns - Bun.stringWidth(text))) + (right[index] ?? "");
  });
}

function justify(left: string, right: string, width: number): string {
  const space = width - Bun.stringWidth(left) - Bun.stringWidth(right);
  return space < 1 ? `${right}  ${left}` : left + " ".repeat(space) + right;
}

function clip(line: string, columns: number): string {
  return Bun.stringWidth(line) <= columns ? line : Bun.sliceAnsi(line, 0, columns, "…");
}
