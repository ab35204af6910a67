// Counts the digits of a JSON number as PostgreSQL writes it out.

import { isExponent, MINUS, POINT } from "./byte-parsers.ts";

const DIGIT_0 = 48;

/**
 * The most digits of a number in event_data, written out. jsonb keeps 1e131071 in a few bytes, but its text has 131,072
 * digits: a few thousand of them in one event and no program can read the row as text any more, pg_dump included.
 */
export const MAX_DIGITS = 1000;
/** PostgreSQL refuses a larger exponent, even of a zero: 0e1073741824 is beyond numeric. */
const MAX_EXPONENT = 1_000_000_000;

/**
 * How many digits a number has in the text of a jsonb: 1e3 becomes 1000, 1.5e-3 becomes 0.0015, 1.50 stays as it is.
 *
 * @param start where the JSON number starts
 * @param end where it ends (exclusive)
 * @returns a count; Infinity where PostgreSQL refuses the exponent
 */
export function writtenDigits(bytes: Buffer, start: number, end: number): number {
  let at = bytes[start] === MINUS ? start + 1 : start;
  let digits = 0;
  let wholeDigits = -1;
  let leadingZeros = 0;
  for (; at < end && !isExponent(bytes[at]!); at++) {
    if (bytes[at] === POINT) {
      wholeDigits = digits;
      continue;
    }
    if (bytes[at] === DIGIT_0 && leadingZeros === digits) leadingZeros++;
    digits++;
  }
  if (wholeDigits < 0) wholeDigits = digits;
  const exponent = at < end ? Number(bytes.toString("latin1", at + 1, end)) : 0;
  if (Math.abs(exponent) > MAX_EXPONENT) return Number.POSITIVE_INFINITY;
  const isZero = leadingZeros === digits;
  const writtenWhole = isZero ? 1 : Math.max(1, wholeDigits - leadingZeros + exponent);
  return writtenWhole + Math.max(0, digits - wholeDigits - exponent);
}
