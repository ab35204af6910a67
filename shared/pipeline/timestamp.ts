// Parses ISO 8601 timestamps with a zone, and formats them for PostgreSQL, to the microsecond.

/** An instant, cut (not rounded) to microseconds. */
export interface Instant {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly ms: number;
  /** 0 to 999. */
  readonly micros: number;
}

const DAYS_IN_MONTH = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const MIN_MS = 0;
/** 9999-12-31T23:59:59.999Z */
const MAX_MS = 253_402_300_799_999;

const MINUS = 45;
const PLUS = 43;
const COLON = 58;

/** The two digits at `at`, or -1. */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  // charCodeAt past the end is NaN, and every comparison with NaN is false.
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
}

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** Days from 1970-01-01 to a date of the Gregorian calendar, `month` 1 to 12. */
function daysFromCivil(year: number, month: number, day: number): number {
  // Years begin in March, so that a leap day comes last; an era is 400 years.
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/**
 * Reads `YYYY-MM-DDTHH:MM[:SS[.fraction]]` with `Z`, `±HH`, `±HHMM` or `±HH:MM`; `t`, `z` and a space for
 * the T are accepted as RFC 3339 allows. The calendar is checked (no 30 February, no 24:00, no leap
 * second), and the instant must lie in the years 1970 to 9999, UTC. `Date.parse` would read 2026-02-30 as
 * 2 March, and text without a zone as local time.
 *
 * @returns undefined where the text is not such a timestamp
 */
export function parseTimestamp(text: string): Instant | undefined {
  const century = twoDigits(text, 0);
  const yearOfCentury = twoDigits(text, 2);
  if (century < 0 || yearOfCentury < 0) return undefined;
  if (text.charCodeAt(4) !== MINUS || text.charCodeAt(7) !== MINUS || text.charCodeAt(13) !== COLON) {
    return undefined;
  }
  const separator = text[10];
  if (separator !== "T" && separator !== "t" && separator !== " ") return undefined;

  let at = 16;
  let second = 0;
  let fractionMicros = 0;
  if (text.charCodeAt(at) === COLON) {
    second = twoDigits(text, at + 1);
    at += 3;
    if (text[at] === "." || text[at] === ",") {
      const start = ++at;
      let scale = 100_000;
      for (; ; at++) {
        const digit = text.charCodeAt(at) - 48;
        if (!(digit >= 0 && digit <= 9)) break;
        fractionMicros += digit * scale;
        // Digits below a microsecond are cut: the scale is 0 by then.
        scale = Math.floor(scale / 10);
      }
      if (at === start) return undefined;
    }
  }

  const zoneMinutes = parseZone(text, at);
  if (zoneMinutes === undefined) return undefined;
  return instantOf(
    century * 100 + yearOfCentury,
    twoDigits(text, 5),
    twoDigits(text, 8),
    twoDigits(text, 11),
    twoDigits(text, 14),
    second,
    fractionMicros,
    zoneMinutes,
  );
}

/**
 * The instant of a date and a time of day, `zoneMinutes` east of UTC; -1 stands for a part that is not a number.
 * @returns undefined where the calendar or the clock has no such moment, or it is outside 1970 to 9999, UTC
 */
export function instantOf(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
  fractionMicros: number,
  zoneMinutes: number,
): Instant | undefined {
  if (month < 1 || month > 12 || day < 1) return undefined;
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return undefined;
  const daysInMonth = month === 2 && isLeapYear(year) ? 29 : DAYS_IN_MONTH[month - 1]!;
  if (day > daysInMonth) return undefined;
  const seconds =
    daysFromCivil(year, month, day) * 86_400 + hour * 3600 + (minute - zoneMinutes) * 60 + second;
  const micros = fractionMicros % 1000;
  const ms = seconds * 1000 + (fractionMicros - micros) / 1000;
  return ms >= MIN_MS && ms <= MAX_MS ? { ms, micros } : undefined;
}

/** Minutes east of UTC of the zone that fills the rest of `text` from `at`. */
function parseZone(text: string, at: number): number | undefined {
  const sign = text.charCodeAt(at);
  if (sign === 90 || sign === 122) return text.length === at + 1 ? 0 : undefined;
  if (sign !== PLUS && sign !== MINUS) return undefined;
  const hours = twoDigits(text, at + 1);
  if (hours < 0 || hours > 23) return undefined;
  let minutes = 0;
  if (text.length !== at + 3) {
    const start = text.charCodeAt(at + 3) === COLON ? at + 4 : at + 3;
    minutes = twoDigits(text, start);
    if (minutes < 0 || minutes > 59 || text.length !== start + 2) return undefined;
  }
  const offset = hours * 60 + minutes;
  return sign === PLUS ? offset : -offset;
}

/** Formats an instant for PostgreSQL: ISO 8601 in UTC, with 3 or 6 fractional digits. */
export function formatTimestamp(ms: number, micros: number): string {
  const text = new Date(ms).toISOString();
  return micros === 0 ? text : `${text.slice(0, -1)}${String(micros).padStart(3, "0")}Z`;
}
