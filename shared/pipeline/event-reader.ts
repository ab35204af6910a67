// Reads a record into an event in one pass over its bytes, or rejects it with a reason.

import { isUtf8 } from "node:buffer";
import type { PipelineEvent, Rejection } from "../event.ts";
import { decimalAt, instantAt, isNumberStart, numberAt, stringAt } from "./byte-parsers.ts";
import { highValueEnd } from "./enrich.ts";
import { MAX_DIGITS } from "./number-size.ts";
import {
  DURATION_SECONDS,
  EVENT_DATA,
  EVENT_ID,
  EVENT_TYPE,
  NONE,
  RecordScanner,
  TIMESTAMP,
  USER_ID,
} from "./record-scanner.ts";
import { makeRejection } from "./rejection.ts";
import { StringInterner } from "./string-interner.ts";
import { type Instant, parseTimestamp } from "./timestamp.ts";
import { MAX_DURATION_SECONDS, MAX_LENGTHS, violationOf } from "./validate.ts";

const NEWLINE = 10;
const QUOTE = 34;
const BACKSLASH = 92;
const SMALL_N = 110;
const OPEN_BRACE = 123;
const LAST_ASCII = 127;
/** Up to this length a loop copies faster than a native call. */
const SHORT_BYTES = 64;
/** More than `highValueEnd` adds to event_data. */
const HIGH_VALUE_BYTES = 32;

/** The largest accepted value, bytes; about Kafka's default limit for a record. */
export const MAX_VALUE_BYTES = 1_048_576;
/** How deep arrays and objects may nest, counting the record itself; far below the limit of PostgreSQL's parser. */
export const MAX_DEPTH = 100;
const REMEMBERED_TYPES = 64;
const REMEMBERED_USERS = 8192;
const NO_BYTES = Buffer.alloc(0);

/**
 * Decodes and validates one record at a time: `scan` says whether it is an event, and then the fields and methods tell
 * which, until the next `scan`. It builds the values of an event's members and nothing else, so that no
 * record takes more memory than a few times its size. JSON.parse would take 800 times the size of a record that is
 * full of keys such as "999".
 *
 * It remembers event types and users, and returns the same strings for them again.
 */
export class EventReader {
  userId = "";
  eventType = "";
  /** Milliseconds since 1970. */
  timestampMs = 0;
  /** 0 to 999, the microseconds within the millisecond. */
  timestampMicros = 0;
  /** Whole milliseconds; NaN where the event carries no duration. */
  durationMs = Number.NaN;
  /** The amount of a purchase, where it is a number. */
  purchaseAmount: number | undefined;
  /** True where the id, user or type was written with an escape: then it may hold a quote. */
  hasEscapes = false;
  readonly #record = new RecordScanner();
  readonly #types = new StringInterner(REMEMBERED_TYPES);
  readonly #users = new StringInterner(REMEMBERED_USERS);
  #bytes: Buffer = NO_BYTES;
  #start = 0;
  #end = 0;

  /**
   * @param bytes the buffer that holds the value, with a newline after it
   * @param start where the value starts, or -1 for a tombstone
   * @param end where it ends (exclusive)
   * @param nowMs the database's clock, milliseconds since 1970
   * @param maxFutureSkewMs how far ahead of that clock a timestamp may be
   * @param length of the value; more than `end - start` where only its beginning is there
   * @returns why the record is no event
   */
  scan(
    bytes: Buffer,
    start: number,
    end: number,
    nowMs: number,
    maxFutureSkewMs: number,
    length = end - start,
  ): Rejection | undefined {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    return this.#decode(length) ?? this.#validate(nowMs, maxFutureSkewMs);
  }

  /** `scan`, and the event as an object, before it is enriched. */
  read(...record: Parameters<EventReader["scan"]>): PipelineEvent | Rejection {
    return this.scan(...record) ?? this.#event();
  }

  /**
   * Reads a value that stands alone, such as a dead letter's.
   * @param value undefined for a tombstone
   * @param length of the value, where only its beginning is given
   */
  readValue(
    value: Uint8Array | undefined,
    nowMs: number,
    maxFutureSkewMs: number,
    length = value?.length ?? 0,
  ): PipelineEvent | Rejection {
    if (value === undefined) return this.read(NO_BYTES, -1, -1, nowMs, maxFutureSkewMs);
    const bytes = Buffer.allocUnsafeSlow(value.length + 1);
    bytes.set(value);
    bytes[value.length] = NEWLINE;
    return this.read(bytes, 0, value.length, nowMs, maxFutureSkewMs, length);
  }

  /** Scans the record; afterwards its strings are UTF-8 that PostgreSQL can hold. */
  #decode(length: number): Rejection | undefined {
    const bytes = this.#bytes;
    const start = this.#start;
    const end = this.#end;
    if (start < 0) return makeRejection("decode", "tombstone", "the record has no value");
    if (length > MAX_VALUE_BYTES) {
      return makeRejection(
        "decode",
        "too_large",
        `the value has ${length} bytes; at most ${MAX_VALUE_BYTES} are accepted`,
      );
    }
    if (bytes[end] !== NEWLINE) throw new RangeError(`no newline after the value at ${start} to ${end}`);
    const record = this.#record;
    const isJson = record.scan(bytes, start, end);
    // The scanner takes any bytes above ASCII in a string, and no others.
    const isChecked = isJson && record.tokens.stringBytes <= LAST_ASCII;
    if (!isChecked && !isUtf8(bytes.subarray(start, end))) {
      return makeRejection("decode", "not_utf8", "the value is not valid UTF-8");
    }
    if (!isJson) return makeRejection("decode", "not_json", `the value (${length} bytes) is not JSON`);
    if (record.depth > MAX_DEPTH) {
      return makeRejection(
        "decode",
        "too_deep",
        `the value nests ${record.depth} levels deep; at most ${MAX_DEPTH} are accepted`,
      );
    }
    if (record.tokens.unstorableEscape >= 0) return this.#unstorable(record.tokens.unstorableEscape);
    return undefined;
  }

  /** Names sizes and positions only: the payload must not appear in an error. */
  #unstorable(at: number): Rejection {
    const isNul = this.#bytes.toString("latin1", at + 2, at + 6) === "0000";
    const what = isNul ? "\\u0000" : "half of a surrogate pair";
    const character = this.#bytes.toString("utf8", this.#start, at).length;
    return makeRejection("decode", "unstorable_text", `the value holds ${what} at character ${character}`);
  }

  /** Validates the members of the scanned record. */
  #validate(nowMs: number, maxFutureSkewMs: number): Rejection | undefined {
    const bytes = this.#bytes;
    const record = this.#record;
    const violation = this.#isPlainlyValid() ? undefined : violationOf(bytes, record);
    if (violation !== undefined) return violation;

    const timestamp = this.#timestamp();
    if (timestamp === undefined) {
      return makeRejection(
        "validate",
        "invalid_timestamp",
        "timestamp: not an ISO 8601 date and time with a zone in the years 1970 to 9999, UTC",
      );
    }
    if (timestamp.ms - nowMs > maxFutureSkewMs) {
      const aheadSeconds = Math.ceil((timestamp.ms - nowMs) / 1000);
      return makeRejection(
        "validate",
        "future_timestamp",
        `timestamp: ${aheadSeconds} s ahead of the database's clock; at most ${maxFutureSkewMs / 1000} s are accepted`,
      );
    }
    if (record.longNumber !== NONE) {
      return makeRejection(
        "validate",
        "out_of_range",
        `event_data: a number has more than ${MAX_DIGITS} digits when written out`,
      );
    }
    this.#take(timestamp);
    return undefined;
  }

  /** True where a look at the bytes shows that `violationOf` finds nothing, as for most events. */
  #isPlainlyValid(): boolean {
    const bytes = this.#bytes;
    const { starts } = this.#record;
    if (!this.#isShortText(EVENT_ID) || !this.#isShortText(USER_ID) || !this.#isShortText(EVENT_TYPE))
      return false;
    if (bytes[starts[TIMESTAMP]!] !== QUOTE || bytes[starts[EVENT_DATA]!] !== OPEN_BRACE) return false;
    const durationStart = starts[DURATION_SECONDS]!;
    if (durationStart === NONE || bytes[durationStart] === SMALL_N) return true;
    const seconds = decimalAt(bytes, durationStart);
    // NaN fails both comparisons.
    return seconds >= 0 && seconds <= MAX_DURATION_SECONDS;
  }

  #isShortText(member: number): boolean {
    const start = this.#record.starts[member]!;
    const length = this.#record.ends[member]! - start - 2;
    return this.#bytes[start] === QUOTE && length > 0 && length <= MAX_LENGTHS[member]!;
  }

  #take({ ms, micros }: Instant): void {
    const bytes = this.#bytes;
    const { starts, amountStart } = this.#record;
    this.hasEscapes = this.#isEscaped(EVENT_ID);
    this.timestampMs = ms;
    this.timestampMicros = micros;
    this.userId = this.#text(USER_ID, this.#users);
    this.eventType = this.#text(EVENT_TYPE, this.#types);
    const durationStart = starts[DURATION_SECONDS]!;
    const hasDuration = durationStart !== NONE && isNumberStart(bytes[durationStart]!);
    // + 0 turns -0 into 0: PostgreSQL would store and print -0.
    this.durationMs = hasDuration ? Math.round(numberAt(bytes, durationStart) * 1000) + 0 : Number.NaN;
    const hasAmount = amountStart !== NONE && isNumberStart(bytes[amountStart]!);
    const isPurchase = hasAmount && this.eventType === "purchase";
    this.purchaseAmount = isPurchase ? numberAt(bytes, amountStart) : undefined;
  }

  #event(): PipelineEvent {
    const { starts, ends } = this.#record;
    return {
      eventId: this.#text(EVENT_ID),
      userId: this.userId,
      eventType: this.eventType,
      timestampMs: this.timestampMs,
      timestampMicros: this.timestampMicros,
      eventDataText: this.#slice(starts[EVENT_DATA]!, ends[EVENT_DATA]!),
      purchaseAmount: this.purchaseAmount,
      durationMs: Number.isNaN(this.durationMs) ? undefined : this.durationMs,
    };
  }

  /** More bytes than the event's texts and its event_data take together: what stands for an escape is never longer. */
  get maxBytes(): number {
    return this.#end - this.#start + HIGH_VALUE_BYTES;
  }

  /**
   * Writes the text of a member in UTF-8.
   * @param member EVENT_ID, USER_ID or EVENT_TYPE
   * @returns where it ends
   */
  writeText(member: number, target: Buffer, at: number): number {
    const start = this.#record.starts[member]!;
    const end = this.#record.ends[member]!;
    if (this.#isEscaped(member)) return at + target.write(stringAt(this.#bytes, start, end), at);
    return this.#copy(start + 1, end - 1, target, at);
  }

  /** Writes the enriched event_data. @returns where it ends */
  writeEventData(target: Buffer, at: number): number {
    const end = this.#copy(this.#record.starts[EVENT_DATA]!, this.#record.ends[EVENT_DATA]!, target, at);
    if (this.purchaseAmount === undefined) return end;
    // The text ends with the object's closing brace, and the object is not empty: it contains the amount.
    return end - 1 + target.write(highValueEnd(this.purchaseAmount), end - 1, "latin1");
  }

  #copy(start: number, end: number, target: Buffer, at: number): number {
    const bytes = this.#bytes;
    const length = end - start;
    if (length > SHORT_BYTES) bytes.copy(target, at, start, end);
    else for (let i = 0; i < length; i++) target[at + i] = bytes[start + i]!;
    return at + length;
  }

  #isEscaped(member: number): boolean {
    const { tokens, starts, ends } = this.#record;
    return tokens.hasEscapes && includesByte(this.#bytes, starts[member]!, ends[member]!, BACKSLASH);
  }

  /** @param interner keeps the string where it is likely to come again */
  #text(member: number, interner?: StringInterner): string {
    const start = this.#record.starts[member]!;
    const end = this.#record.ends[member]!;
    if (this.#isEscaped(member)) {
      this.hasEscapes = true;
      return stringAt(this.#bytes, start, end);
    }
    return interner === undefined
      ? this.#slice(start + 1, end - 1)
      : interner.get(this.#bytes, start + 1, end - 1);
  }

  /** A copy, which does not keep the buffer alive. */
  #slice(start: number, end: number): string {
    const isAscii = this.#record.tokens.stringBytes <= LAST_ASCII;
    return isAscii ? this.#bytes.toString("latin1", start, end) : this.#bytes.toString("utf8", start, end);
  }

  #timestamp(): Instant | undefined {
    const start = this.#record.starts[TIMESTAMP]!;
    const end = this.#record.ends[TIMESTAMP]!;
    return this.#isEscaped(TIMESTAMP)
      ? parseTimestamp(stringAt(this.#bytes, start, end))
      : instantAt(this.#bytes, start + 1, end - 1);
  }
}

function includesByte(bytes: Buffer, start: number, end: number, byte: number): boolean {
  for (let at = start; at < end; at++) if (bytes[at] === byte) return true;
  return false;
}
