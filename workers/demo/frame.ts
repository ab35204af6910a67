// Renders a snapshot as the lines of one frame that fits a terminal.
import { clock, count, duration, plural, printable, rate, UNKNOWN } from "../../shared/text/format.ts";
import { bar, sparkline } from "./bars.ts";
import type { Palette } from "./colors.ts";
import { INJECTED_EVERY } from "./injected-faults.ts";
import { countEvents } from "./observer.ts";
import type { Growth, Snapshot } from "./run.ts";

export interface FrameSize {
  readonly columns: number;
  readonly rows: number;
}

/** Lines that belong together; an empty line separates blocks if there is room for it. */
interface Block {
  readonly lines: readonly string[];
  /** The least important block is the first to go if there is no room. */
  readonly importance: number;
}

/** From this width on, the hours and the lag are side by side. */
const SIDE_BY_SIDE_COLUMNS = 92;
const HOURS_COLUMNS = 56;
/** The importance of a block that is shown only if all others have all the room they want. */
const OPTIONAL = 1;
const MARGIN = " ";
const LABEL_COLUMNS = 10;
const RATE_COLUMNS = 11;
const TOTAL_COLUMNS = 12;
/** A bar is full at this lag, unless another partition has more. */
const MIN_FULL_LAG = 100;
const LAG_WARNING = 1000;
const LAG_ALARM = 5000;
const LAG_COLUMNS = 40;
const NEWEST_DEAD_LETTERS = 5;

/** At most `rows` lines, none wider than `columns`. */
export function renderFrame(snapshot: Snapshot, { columns, rows }: FrameSize, palette: Palette): string[] {
  const width = Math.max(1, columns - 2 * MARGIN.length);
  const isWide = columns >= SIDE_BY_SIDE_COLUMNS;
  const hours = renderHours(snapshot, palette);
  const blocks: readonly Block[] = [
    { importance: 10, lines: renderTitle(snapshot, width, palette) },
    { importance: 9, lines: renderFlow(snapshot, width, palette) },
    ...(isWide
      ? [
          {
            importance: 8,
            lines: sideBySide(hours, HOURS_COLUMNS, renderLag(snapshot, width - HOURS_COLUMNS, 1, palette)),
          },
        ]
      : [
          { importance: 8, lines: hours },
          { importance: 5, lines: renderLag(snapshot, width, 2, palette) },
        ]),
    { importance: 6, lines: renderRecords(snapshot, palette) },
    // At the end the servers are gone.
    { importance: 7, lines: snapshot.phase === "done" ? [] : renderEndpoints(snapshot, palette) },
    { importance: OPTIONAL, lines: renderNewestDeadLetters(snapshot, palette) },
  ].filter(({ lines }) => lines.length > 0);
  // The last column stays free: terminals differ in what they do after a character there.
  return fit(blocks, rows).map((line) => clip(MARGIN + line, columns - 1).trimEnd());
}

function renderTitle(snapshot: Snapshot, width: number, palette: Palette): string[] {
  const { elapsedMs, limitMs, rate: target } = snapshot;
  const asked = Number.isFinite(target)
    ? `target: ${count(target)} records/s`
    : "target: as fast as possible";
  const time =
    limitMs === undefined ? clock(elapsedMs) : `${clock(Math.min(elapsedMs, limitMs))} of ${clock(limitMs)}`;
  const title = `${palette.title("event-pipeline demo")}  ${palette.quiet(asked)}`;
  return [justify(title, palette.figure(time), width), renderPhase(snapshot, palette)];
}

function renderPhase({ phase, isHeldBack }: Snapshot, palette: Palette): string {
  switch (phase) {
    case "producing":
      return isHeldBack
        ? palette.warning("the producer waits: the consumer is 10,000 records behind")
        : palette.quiet("Ctrl-C stops the demo and shows the proofs");
    case "finishing":
      return palette.warning("finishing: consuming the remaining records (Ctrl-C again stops at once)");
    case "draining":
      return palette.warning("finishing: the consumer drains (Ctrl-C again stops at once)");
    case "done":
      return palette.good("done: every published record is consumed");
  }
}

function renderFlow(
  { produced, consumed, age, rate: target }: Snapshot,
  width: number,
  palette: Palette,
): string[] {
  const graphColumns = width - LABEL_COLUMNS - RATE_COLUMNS - 1 - TOTAL_COLUMNS - 2 - "in PostgreSQL".length;
  const seen = [...produced.seconds, ...consumed.seconds].reduce((a, b) => Math.max(a, b), 0);
  const most = Math.max(seen, Number.isFinite(target) ? target : 0);
  const row = (label: string, paint: Palette["produced"], growth: Growth, where: string): string => {
    const graph = sparkline(growth.seconds, Math.max(0, graphColumns), most);
    return (
      label.padEnd(LABEL_COLUMNS) +
      palette.figure(`${rate(growth.rate)}/s`.padStart(RATE_COLUMNS - 1)) +
      `  ${paint(graph)}${palette.figure(count(growth.total).padStart(TOTAL_COLUMNS))}  ${palette.quiet(where)}`
    );
  };
  const latency =
    age === null
      ? palette.quiet("no events yet".padStart(RATE_COLUMNS))
      : `${palette.figure(duration(age.p50).padStart(RATE_COLUMNS - 1))} ${palette.quiet("p50")}  ` +
        `${palette.figure(duration(age.p99))} ${palette.quiet("p99, from an event's creation to its commit")}`;
  return [
    row("produced", palette.produced, produced, "in Kafka"),
    row("consumed", palette.consumed, consumed, "in PostgreSQL"),
    "latency".padEnd(LABEL_COLUMNS) + latency,
  ];
}

function renderHours({ hours }: Snapshot, palette: Palette): string[] {
  const hour = hours.at(-1);
  const line = (type: string, events: string, users = "", average = ""): string =>
    type.padEnd(19) + events.padStart(11) + users.padStart(11) + average.padStart(11);
  if (hour === undefined)
    return [palette.label(line("hour", "events", "users", "average")), palette.quiet("no events yet")];
  const from = new Date(hour.startMs).toISOString().slice(11, 16);
  const lines = [palette.label(line(`hour from ${from} UTC`, "events", "users", "average"))];
  for (const { eventType, events, uniqueUsers, averageSeconds } of hour.types) {
    const average = averageSeconds === null ? UNKNOWN : `${averageSeconds.toFixed(1)} s`;
    lines.push(line(printable(eventType).slice(0, 18), count(events), count(uniqueUsers), average));
  }
  if (hour.others !== null) lines.push(line("other types", count(hour.others.events)));
  const before = countEvents(hours.slice(0, -1));
  if (before > 0) lines.push(palette.quiet(line("in earlier hours", count(before))));
  return lines;
}

/** @param perLine partitions side by side */
function renderLag(
  { lag: partitions }: Snapshot,
  width: number,
  perLine: number,
  palette: Palette,
): string[] {
  const total = partitions.reduce((sum, { lag }) => sum + lag, 0);
  const most = partitions.reduce((a, { lag }) => Math.max(a, lag), MIN_FULL_LAG);
  const columns = Math.min(LAG_COLUMNS, Math.floor(width / perLine) - 2);
  const cells = partitions.map(({ partition, lag }) => {
    const paint = lag >= LAG_ALARM ? palette.bad : lag >= LAG_WARNING ? palette.warning : palette.consumed;
    const barColumns = Math.max(0, columns - 14);
    const filled = bar(lag, barColumns, most);
    return `${`p${partition}`.padEnd(4)}${paint(filled)}${" ".repeat(barColumns - filled.length)} ${count(lag).padStart(8)}  `;
  });
  const lines = [`${palette.label("lag")}${palette.quiet(`  ${plural(total, "record")} not committed yet`)}`];
  const rows = Math.ceil(cells.length / perLine);
  for (let row = 0; row < rows; row++) {
    lines.push(Array.from({ length: perLine }, (_, column) => cells[column * rows + row] ?? "").join(""));
  }
  return lines;
}

function renderRecords({ totals, deadLetters }: Snapshot, palette: Palette): string[] {
  const { stored = 0, duplicates = 0, deadLetters: rejected = 0 } = totals ?? {};
  const reasons = (deadLetters?.byReason ?? [])
    .map(({ reason, count: records }) => `${printable(reason)} ${count(records)}`)
    .join(", ");
  const figure = (value: number, noun: string): string =>
    plural(value, noun).replace(/^\S+/, (text) => palette.figure(text));
  const every = count(INJECTED_EVERY);
  const indent = " ".repeat(LABEL_COLUMNS);
  return [
    `${"records".padEnd(LABEL_COLUMNS)}${palette.figure(count(stored))} stored, ` +
      `${figure(duplicates, "duplicate")}, ${figure(rejected, "dead letter")}`,
    indent + palette.quiet(reasons === "" ? "no dead letters yet" : reasons),
    indent + palette.quiet(`injected on purpose: 1 invalid and 1 repeated record in ${every}`),
  ];
}

function renderNewestDeadLetters({ deadLetters }: Snapshot, palette: Palette): string[] {
  const newest = (deadLetters?.newest ?? []).slice(0, NEWEST_DEAD_LETTERS);
  if (newest.length === 0) return [];
  const lines = newest.map(({ partition, offset, reason, error }) => {
    const place = `p${partition} @ ${count(offset)}`.padEnd(16);
    return `${place}${printable(reason).padEnd(20)}${palette.quiet(printable(error))}`;
  });
  return [palette.label("newest dead letters"), ...lines];
}

function renderEndpoints({ endpoints }: Snapshot, palette: Palette): string[] {
  const hint = "  in a browser; also /api, /metrics";
  return [
    `${"console".padEnd(LABEL_COLUMNS)}${palette.link(endpoints.consoleUrl)}${palette.quiet(hint)}`,
    `${"database".padEnd(LABEL_COLUMNS)}${endpoints.psql}`,
    `${"log".padEnd(LABEL_COLUMNS)}${palette.quiet(endpoints.consumerLog)}`,
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
  // If there is room for some of the empty lines only, the upper ones stay.
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
