// Formats numbers, sizes, times and text from outside for a person, in the terminal and in the browser alike.
// The console's page bundles this file, so it uses no API of Bun or Node.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** Stands for a figure that is not known. */
export const UNKNOWN = "–";

/** A whole number with separators: "12,345". */
export function count(value: number | bigint | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : GROUPED.format(value);
}

/** A short number for an axis: "1.5K". */
export function compact(value: number): string {
  return COMPACT.format(value);
}

/** A rate without its unit; slow rates keep a decimal: "12,345", "0.5". */
export function rate(perSecond: number | null | undefined): string {
  if (perSecond === null || perSecond === undefined) return UNKNOWN;
  return perSecond > 0 ? digits(perSecond) : GROUPED.format(perSecond);
}

/** A share of 1 with at most one decimal: "5 %", "0.5 %". */
export function percent(share: number): string {
  return `${Number((share * 100).toFixed(1))} %`;
}

/** Seconds in the unit that suits them: "850 µs", "3.2 ms", "18 ms", "1.4 s", "95 s", "3.0 min". */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds === 0) return "0 s";
  if (seconds < 0.0009995) return `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1000)} ms`;
  if (seconds < 120) return `${digits(seconds)} s`;
  if (seconds < 7200) return `${digits(seconds / 60)} min`;
  if (seconds < 172_800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86_400)} d`;
}

/** Elapsed milliseconds as a clock shows them: "0:07", "12:34", "1:00:00". */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** The time of day in UTC, "20:41:07", preceded by the date unless the date is today's. */
export function time(atMs: number, nowMs = Date.now()): string {
  const iso = new Date(atMs).toISOString();
  const isToday = iso.slice(0, 10) === new Date(nowMs).toISOString().slice(0, 10);
  return isToday ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
}

/** The start of an hour in UTC: "2026-03-14 09:00". */
export function hour(startMs: number): string {
  const iso = new Date(startMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

/** A size in decimal units: "512 B", "8.2 MB". */
export function bytes(value: number): string {
  if (value < 1000) return `${GROUPED.format(value)} B`;
  let scaled = value;
  let unit = "B";
  for (const next of ["kB", "MB", "GB", "TB", "PB"]) {
    if (scaled < 999.5) break;
    scaled /= 1000;
    unit = next;
  }
  return `${digits(scaled)} ${unit}`;
}

/** "1 record", "2 records" */
export function plural(value: number | bigint, noun: string): string {
  const text = count(value);
  return `${text} ${noun}${text === "1" ? "" : "s"}`;
}

/**
 * Text from outside, safe to show: a character that is invisible, moves the cursor or reverses the direction of
 * writing becomes its code, `\u{1b}`.
 * @param kept such characters that stay, for example "\n"
 */
export function printable(text: string, kept = ""): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, (character) =>
    kept.includes(character) ? character : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** Two digits or more: one decimal below 10. */
function digits(value: number): string {
  return value < 9.95 ? value.toFixed(1) : GROUPED.format(value);
}
