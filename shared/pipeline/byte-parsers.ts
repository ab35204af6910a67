// Parses numbers and timestamps directly from the bytes of a larger buffer.

import { type Instant, instantOf, parseTimestamp } from "./timestamp.ts";

export const PLUS = 43;
export const MINUS = 45;
export const POINT = 46;
const DIGIT_0 = 48;
const DIGIT_9 = 57;
const COLON = 58;
const CAPITAL_T = 84;
const CAPITAL_Z = 90;
const SMALL_E = 101;
const ZERO_OFFSET = Buffer.from("+00:00");

/** Up to this many digits both the digits and the power of ten that divides them are exact in a double. */
const MAX_EXACT_DIGITS = 15;
const POWERS_OF_TEN = Array.from({ length: MAX_EXACT_DIGITS + 1 }, (_, power) => 10 ** power);

/** True where `word` stands at `at`. */
export function isAt(bytes: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}

/** True for 0 to 9. */
export function isDigit(byte: number): boolean {
  return byte >= DIGIT_0 && byte <= DIGIT_9;
}

/** True for the first byte of a JSON number. */
export function isNumberStart(byte: number): boolean {
  return byte === MINUS || isDigit(byte);
}

/** True for e and E. */
export function isExponent(byte: number): boolean {
  return (byte | 0x20) === SMALL_E;
}

/**
 * The JSON number at `at`, equal to the result of JSON.parse: the digits over a power of ten, both exact, so that
 * the division rounds once, to the nearest double.
 *
 * @returns NaN where there is no number, or it has an exponent or more than 15 digits
 */
export function decimalAt(bytes: Buffer, at: number): number {
  const isNegative = bytes[at] === MINUS;
  if (isNegative) at++;
  let digits = 0;
  let count = 0;
  let countBeforePoint = -1;
  for (; ; at++) {
    const byte = bytes[at]!;
    if (isDigit(byte)) {
      digits = digits * 10 + byte - DIGIT_0;
      count++;
    } else if (byte === POINT) {
      countBeforePoint = count;
    } else {
      if (count === 0 || count > MAX_EXACT_DIGITS || isExponent(byte)) return Number.NaN;
      break;
    }
  }
  const value = countBeforePoint < 0 ? digits : digits / POWERS_OF_TEN[count - countBeforePoint]!;
  return isNegative ? -value : value;
}

/**
 * The JSON number at `at`, equal to the result of JSON.parse: infinite beyond a double.
 * @param at where a valid JSON number starts
 */
export function numberAt(bytes: Buffer, at: number): number {
  const decimal = decimalAt(bytes, at);
  if (!Number.isNaN(decimal)) return decimal;
  let end = at;
  while (isInNumber(bytes[end]!)) end++;
  return Number(bytes.toString("latin1", at, end));
}

function isInNumber(byte: number): boolean {
  return isDigit(byte) || isExponent(byte) || byte === POINT || byte === MINUS || byte === PLUS;
}

/** The JSON string in [start, end), quotes included, with its escapes resolved. */
export function stringAt(bytes: Buffer, start: number, end: number): string {
  return JSON.parse(bytes.toString("utf8", start, end)) as string;
}

/**
 * The instant of a timestamp. The usual forms, `YYYY-MM-DDTHH:MM:SS[.fraction]` and `Z` or `+00:00`, are read from
 * the bytes; all others go through `parseTimestamp`.
 *
 * @param end the position after the last byte; the byte there is not a digit
 * @returns undefined where the text is not a timestamp
 */
export function instantAt(bytes: Buffer, start: number, end: number): Instant | undefined {
  const century = twoDigitsAt(bytes, start);
  const yearOfCentury = twoDigitsAt(bytes, start + 2);
  const isUsual =
    century >= 0 &&
    yearOfCentury >= 0 &&
    bytes[start + 4] === MINUS &&
    bytes[start + 7] === MINUS &&
    bytes[start + 10] === CAPITAL_T &&
    bytes[start + 13] === COLON &&
    bytes[start + 16] === COLON;
  let at = start + 19;
  let fractionMicros = 0;
  if (isUsual && bytes[at] === POINT && isDigit(bytes[at + 1]!)) {
    let scale = 100_000;
    for (at++; isDigit(bytes[at]!); at++) {
      fractionMicros += (bytes[at]! - DIGIT_0) * scale;
      // Digits below a microsecond are cut: the scale is 0 by then.
      scale = Math.floor(scale / 10);
    }
  }
  const isUtc = bytes[at] === CAPITAL_Z ? at + 1 === end : isAt(bytes, at, ZERO_OFFSET) && at + 6 === end;
  if (!isUsual || !isUtc) return parseTimestamp(bytes.toString("latin1", start, end));
  return instantOf(
    century * 100 + yearOfCentury,
    twoDigitsAt(bytes, start + 5),
    twoDigitsAt(bytes, start + 8),
    twoDigitsAt(bytes, start + 11),
    twoDigitsAt(bytes, start + 14),
    twoDigitsAt(bytes, start + 17),
    fractionMicros,
    0,
  );
}

/** The two digits at `at`, or -1. */
function twoDigitsAt(bytes: Buffer, at: number): number {
  const tens = bytes[at]!;
  const ones = bytes[at + 1]!;
  return isDigit(tens) && isDigit(ones) ? (tens - DIGIT_0) * 10 + ones - DIGIT_0 : -1;
}
