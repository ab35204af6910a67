// Numbers in; what a person reads out.

/** 12345 -> "12,345" */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Records per second: "12,345/s", below ten with a decimal. */
export function perSecond(value: number): string {
  return value > 0 && value < 9.95 ? `${value.toFixed(1)}/s` : `${count(value)}/s`;
}

/** "850 µs" is never needed here: "3.2 ms", "18 ms", "1.4 s", "95 s". */
export function duration(seconds: number): string {
  if (seconds < 0.00995) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : `${count(seconds)} s`;
}

/** Elapsed time as a clock shows it: "0:07", "12:34", "1:00:00". */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

const SIZES = ["kB", "MB", "GB", "TB"] as const;

/** "512 B", "8.2 MB" */
export function bytes(value: number): string {
  if (value < 1000) return `${value} B`;
  let scaled = value;
  let unit: string = "B";
  for (const next of SIZES) {
    if (scaled < 999.5) break;
    scaled /= 1000;
    unit = next;
  }
  return `${scaled < 9.95 ? scaled.toFixed(1) : count(scaled)} ${unit}`;
}

/** "1 record", "2 records" */
export function plural(value: number, noun: string): string {
  return `${count(value)} ${noun}${Math.round(value) === 1 ? "" : "s"}`;
}
