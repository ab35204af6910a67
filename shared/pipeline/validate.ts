// Validates the members of a record, or names the first one that is wrong.

import type { Rejection, RejectionReason } from "../event.ts";
import { isNumberStart, numberAt, stringAt } from "./byte-parsers.ts";
import {
  DURATION_SECONDS,
  EVENT_DATA,
  MEMBERS,
  NONE,
  type RecordScanner,
  TIMESTAMP,
} from "./record-scanner.ts";
import { makeRejection } from "./rejection.ts";

const QUOTE = 34;
const SMALL_N = 110;
const OPEN_BRACE = 123;

/** The most code points of event_id, user_id and event_type, by member: PostgreSQL counts code points. */
export const MAX_LENGTHS = [100, 100, 50] as const;
export const MAX_DURATION_SECONDS = 1e9;
/** The most bytes of a code point in JSON: a surrogate pair, each half written as `\uXXXX`. */
const MAX_CODE_POINT_BYTES = 12;

/**
 * Checks that the members of an event are there, and their types, lengths and ranges. Further members are allowed
 * and not stored. The text of the timestamp is not judged here.
 *
 * @param bytes the buffer that holds the record
 * @param record where its members lie
 * @returns undefined where all of them are right
 */
export function violationOf(bytes: Buffer, record: RecordScanner): Rejection | undefined {
  if (bytes[record.start] !== OPEN_BRACE)
    return violation("not_an_object", "the value is JSON, but not an object");
  // The range comes first so that a stored dead letter keeps its reason: it came first in earlier versions.
  const outOfRange = durationOutOfRange(bytes, record.starts[DURATION_SECONDS]!);
  if (outOfRange !== undefined) return outOfRange;
  const missing = MEMBERS.filter((_, member) => isMissing(record, member) && member !== DURATION_SECONDS);
  if (missing.length > 0) return violation("missing_field", `${missing.join(", ")}: missing`);
  for (const [member, name] of MEMBERS.entries()) {
    if (isMissing(record, member)) continue;
    const wrong = memberViolation(bytes, record, member, name);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function violation(reason: RejectionReason, error: string): Rejection {
  return makeRejection("validate", reason, error);
}

function isMissing(record: RecordScanner, member: number): boolean {
  return record.starts[member] === NONE;
}

function durationOutOfRange(bytes: Buffer, start: number): Rejection | undefined {
  if (start === NONE || !isNumberStart(bytes[start]!)) return undefined;
  const seconds = numberAt(bytes, start);
  if (seconds < 0 && seconds !== -Infinity)
    return violation("out_of_range", "duration_seconds: must be >= 0");
  if (seconds > MAX_DURATION_SECONDS && seconds !== Infinity) {
    return violation("out_of_range", `duration_seconds: must be <= ${MAX_DURATION_SECONDS}`);
  }
  return undefined;
}

function memberViolation(
  bytes: Buffer,
  record: RecordScanner,
  member: number,
  name: string,
): Rejection | undefined {
  const start = record.starts[member]!;
  const first = bytes[start]!;
  if (isNumberStart(first) && !Number.isFinite(numberAt(bytes, start))) {
    return violation("out_of_range", `${name}: beyond the range of a double`);
  }
  switch (member) {
    case DURATION_SECONDS:
      if (first === SMALL_N) return undefined;
      return isNumberStart(first) ? undefined : violation("wrong_type", `${name}: must be number`);
    case EVENT_DATA:
      return first === OPEN_BRACE ? undefined : violation("wrong_type", `${name}: must be object`);
    default:
      if (first !== QUOTE) return violation("wrong_type", `${name}: must be string`);
      return member === TIMESTAMP
        ? undefined
        : lengthViolation(bytes, start, record.ends[member]!, MAX_LENGTHS[member]!, name);
  }
}

function lengthViolation(
  bytes: Buffer,
  start: number,
  end: number,
  max: number,
  name: string,
): Rejection | undefined {
  const length = end - start - 2;
  if (length === 0) return violation("out_of_range", `${name}: must not have fewer than 1 characters`);
  // The bytes tell in nearly all cases; a text of up to 1 MiB is not built to be counted.
  if (length <= max) return undefined;
  const isLonger =
    length > max * MAX_CODE_POINT_BYTES || Array.from(stringAt(bytes, start, end)).length > max;
  return isLonger
    ? violation("out_of_range", `${name}: must not have more than ${max} characters`)
    : undefined;
}
