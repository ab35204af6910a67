// Reads the value of --hours.

import { ConfigurationError } from "../../shared/runtime/errors.ts";
import { ALL_HOURS, type HourRange } from "../../shared/store/rebuild/slices.ts";

/** As `check` shows hours: 2026-11-22 21:00, or 2026-11-22T21:00:00Z; or a date, for its first hour. */
const HOUR = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d)(?::00(?::00)?)?Z?)?$/;

/** @throws ConfigurationError where the text is not FROM..TO */
export function parseHours(text: string | undefined): HourRange {
  if (text === undefined) return ALL_HOURS;
  const [from = "", to = "", ...rest] = text.split("..");
  const range = {
    from: from === "" ? ALL_HOURS.from : parseHour(from),
    to: to === "" ? ALL_HOURS.to : parseHour(to),
  };
  const isWhole = rest.length === 0 && text.includes("..");
  const isEmpty = from !== "" && to !== "" && (range.from ?? "") >= (range.to ?? "");
  if (isWhole && !isEmpty && range.from !== undefined && range.to !== undefined) {
    return { from: range.from, to: range.to };
  }
  throw new ConfigurationError([
    `--hours ${text}: must be two whole hours in UTC, the first earlier than the second, such as 2026-11-22T21..2026-11-23 (see --help)`,
  ]);
}

/** @returns ISO 8601; undefined where the text is no whole hour */
export function parseHour(text: string): string | undefined {
  const [, date, hour = "00"] = HOUR.exec(text) ?? [];
  if (date === undefined) return undefined;
  const iso = `${date}T${hour}:00:00.000Z`;
  const at = new Date(iso);
  // 30 February would become 2 March.
  return !Number.isNaN(at.getTime()) && at.toISOString() === iso ? iso : undefined;
}
