// Numbers, times and sizes in; what a person reads out. Times are UTC, as in the tables and the logs.

const GROUPED = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** What is not known. */
export const UNKNOWN = "–";

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : GROUPED.format(value);
}

/** Short, for axes: 1.5K. */
export function compact(value: number): string {
  return COMPACT.format(value);
}

/** Per second; slow flows keep a digit. */
export function rate(perSecond: number): string {
  return perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : GROUPED.format(perSecond);
}

/** Seconds, in the unit that suits them. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return UNKNOWN;
  if (seconds < 0.001) return seconds === 0 ? "0" : `${digits(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1000)} ms`;
  if (seconds < 120) return `${digits(seconds)} s`;
  if (seconds < 7200) return `${digits(seconds / 60)} min`;
  if (seconds < 172_800) return `${digits(seconds / 3600)} h`;
  return `${digits(seconds / 86_400)} d`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${GROUPED.format(value)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let size = value;
  let unit = "B";
  for (const next of units) {
    if (size < 1024) break;
    size /= 1024;
    unit = next;
  }
  return `${digits(size)} ${unit}`;
}

/** 20:41:07, or with its date where that is another day than today. */
export function time(atMs: number, nowMs = Date.now()): string {
  const iso = new Date(atMs).toISOString();
  const isToday = iso.slice(0, 10) === new Date(nowMs).toISOString().slice(0, 10);
  return isToday ? iso.slice(11, 19) : `${iso.slice(0, 10)} ${iso.slice(11, 19)}`;
}

/** 14:00, or with its date. */
export function hour(startMs: number): string {
  const iso = new Date(startMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
}

export function plural(value: number, noun: string): string {
  return `${GROUPED.format(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** Two or three digits. */
function digits(value: number): string {
  return value >= 9.95 ? GROUPED.format(value) : value.toFixed(1);
}
