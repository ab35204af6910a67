// Reads most records into events in one pass over their bytes; leaves the rest to decode and validate.

import { isUtf8 } from "node:buffer";
import type { PipelineEvent } from "../event.ts";
import { decimalAt, instantAt, isAt, isDigit, isExponent, MINUS, POINT } from "./byte-parsers.ts";
import { MAX_DEPTH, MAX_VALUE_BYTES } from "./decode.ts";
import { StringInterner } from "./string-interner.ts";

const TAB = 9;
const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const PLUS = 43;
const COMMA = 44;
const DIGIT_0 = 48;
const COLON = 58;
const OPEN_BRACKET = 91;
const BACKSLASH = 92;
const CLOSE_BRACKET = 93;
const SMALL_F = 102;
const SMALL_N = 110;
const SMALL_T = 116;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;
const LAST_ASCII = 127;

const TRUE = Buffer.from("true");
const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");
const AMOUNT = Buffer.from('"amount"');
const PURCHASE = Buffer.from('"purchase"');

/** The keys of an event as JSON writes them. A field is known by its place here. */
const KEYS = ["event_id", "user_id", "event_type", "timestamp", "event_data", "duration_seconds"].map(
  (name) => Buffer.from(`"${name}"`),
);
const [EVENT_ID, USER_ID, EVENT_TYPE, TIMESTAMP, EVENT_DATA, DURATION_SECONDS] = [0, 1, 2, 3, 4, 5] as const;
/** The schema's limits count characters; as byte limits they are stricter: a text has at least as many bytes. */
const MAX_ID_BYTES = 100;
const MAX_TYPE_BYTES = 50;
const MAX_DURATION_SECONDS = 1e9;
const REMEMBERED_TYPES = 64;
const REMEMBERED_USERS = 8192;

/**
 * Reads a record in one pass over its bytes that checks the JSON and notes where the fields lie. It handles most of
 * what producers send and leaves the rest to `decode` and `validate`: escapes, repeated fields, numbers with an
 * exponent or many digits where their value is needed, and everything that is not an event. Every record that it
 * accepts, `decode` and `validate` accept with the same result.
 *
 * The scanning methods take the position of a token's first byte and return the position after its last one. A
 * method that meets something unknown returns the end of the record instead: the newline there belongs to no
 * token, so every other method gives up as well.
 */
export class FastReader {
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;
  #isKnown = true;
  /** The bytes of all strings, combined with OR: above 127 some string is not ASCII. */
  #stringBytes = 0;
  /** Where the value of each field starts and ends; the end of the record for a missing field. */
  readonly #starts = new Int32Array(KEYS.length);
  readonly #ends = new Int32Array(KEYS.length);
  /** Where the value of the last `amount` starts, in the latest object of depth 2; or the end of the record. */
  #amountStart = 0;
  /** The same for event_data. */
  #eventAmountStart = 0;
  readonly #types = new StringInterner(REMEMBERED_TYPES);
  readonly #users = new StringInterner(REMEMBERED_USERS);

  /**
   * @param bytes the buffer that holds the value, with a newline after it
   * @param start where the value starts, or -1 for a tombstone
   * @param end where it ends (exclusive)
   * @param nowMs the database's clock, milliseconds since 1970
   * @param maxFutureSkewMs how far ahead of that clock a timestamp may be
   * @returns undefined for a record that `decode` and `validate` have to read
   */
  read(
    bytes: Buffer,
    start: number,
    end: number,
    nowMs: number,
    maxFutureSkewMs: number,
  ): PipelineEvent | undefined {
    if (start < 0 || end - start > MAX_VALUE_BYTES || bytes[end] !== NEWLINE) return undefined;
    this.#bytes = bytes;
    this.#end = end;
    this.#isKnown = true;
    this.#stringBytes = 0;
    this.#eventAmountStart = end;
    for (let field = 0; field < KEYS.length; field++) this.#starts[field] = end;

    const open = this.#space(start);
    if (bytes[open] !== OPEN_BRACE) return undefined;
    if (this.#space(this.#object(open, 1)) !== end || !this.#isKnown) return undefined;
    if (this.#stringBytes > LAST_ASCII && !isUtf8(bytes.subarray(start, end))) return undefined;
    return this.#event(nowMs, maxFutureSkewMs);
  }

  /** Builds the event of a record that is valid JSON and UTF-8, if its fields are valid. */
  #event(nowMs: number, maxFutureSkewMs: number): PipelineEvent | undefined {
    const bytes = this.#bytes;
    if (!this.#isText(EVENT_ID, MAX_ID_BYTES) || !this.#isText(USER_ID, MAX_ID_BYTES)) return undefined;
    if (!this.#isText(EVENT_TYPE, MAX_TYPE_BYTES) || bytes[this.#starts[TIMESTAMP]!] !== QUOTE)
      return undefined;
    if (bytes[this.#starts[EVENT_DATA]!] !== OPEN_BRACE) return undefined;

    const timestamp = instantAt(bytes, this.#starts[TIMESTAMP]! + 1, this.#ends[TIMESTAMP]! - 1);
    if (timestamp === undefined || timestamp.ms - nowMs > maxFutureSkewMs) return undefined;

    let durationMs: number | undefined;
    const durationStart = this.#starts[DURATION_SECONDS]!;
    if (durationStart !== this.#end && bytes[durationStart] !== SMALL_N) {
      const seconds = decimalAt(bytes, durationStart);
      // NaN fails both comparisons.
      if (!(seconds >= 0 && seconds <= MAX_DURATION_SECONDS)) return undefined;
      durationMs = Math.round(seconds * 1000) + 0;
    }

    let purchaseAmount: number | undefined;
    const amountByte = bytes[this.#eventAmountStart]!;
    if (isAt(bytes, this.#starts[EVENT_TYPE]!, PURCHASE) && (amountByte === MINUS || isDigit(amountByte))) {
      purchaseAmount = decimalAt(bytes, this.#eventAmountStart);
      if (Number.isNaN(purchaseAmount)) return undefined;
    }

    return {
      eventId: this.#text(this.#starts[EVENT_ID]! + 1, this.#ends[EVENT_ID]! - 1),
      userId: this.#users.get(bytes, this.#starts[USER_ID]! + 1, this.#ends[USER_ID]! - 1),
      eventType: this.#types.get(bytes, this.#starts[EVENT_TYPE]! + 1, this.#ends[EVENT_TYPE]! - 1),
      timestampMs: timestamp.ms,
      timestampMicros: timestamp.micros,
      eventDataText: this.#text(this.#starts[EVENT_DATA]!, this.#ends[EVENT_DATA]!),
      purchaseAmount,
      durationMs,
    };
  }

  #isText(field: number, maxBytes: number): boolean {
    const start = this.#starts[field]!;
    const length = this.#ends[field]! - start - 2;
    return this.#bytes[start] === QUOTE && length > 0 && length <= maxBytes;
  }

  /** A copy, which does not keep the block's bytes alive. */
  #text(start: number, end: number): string {
    const isAscii = this.#stringBytes <= LAST_ASCII;
    return isAscii ? this.#bytes.toString("latin1", start, end) : this.#bytes.toString("utf8", start, end);
  }

  #value(at: number, depth: number): number {
    switch (this.#bytes[at]!) {
      case QUOTE:
        return this.#string(at);
      case OPEN_BRACE:
        return this.#object(at, depth);
      case OPEN_BRACKET:
        return this.#array(at, depth);
      case SMALL_T:
        return this.#literal(at, TRUE);
      case SMALL_F:
        return this.#literal(at, FALSE);
      case SMALL_N:
        return this.#literal(at, NULL);
      default:
        return this.#number(at);
    }
  }

  #object(open: number, depth: number): number {
    if (depth > MAX_DEPTH) return this.#unknown();
    const bytes = this.#bytes;
    if (depth === 2) this.#amountStart = this.#end;
    let at = this.#space(open + 1);
    if (bytes[at] === CLOSE_BRACE) return at + 1;
    for (;;) {
      const keyStart = at;
      if (bytes[at] !== QUOTE) return this.#unknown();
      const keyEnd = this.#string(at);
      at = this.#space(keyEnd);
      if (bytes[at] !== COLON) return this.#unknown();
      const valueStart = this.#space(at + 1);
      const valueEnd = this.#value(valueStart, depth + 1);
      if (depth === 1) this.#recordField(keyStart, keyEnd, valueStart, valueEnd);
      else if (depth === 2 && isAt(bytes, keyStart, AMOUNT)) this.#amountStart = valueStart;
      at = this.#space(valueEnd);
      if (bytes[at] === CLOSE_BRACE) return at + 1;
      if (bytes[at] !== COMMA) return this.#unknown();
      at = this.#space(at + 1);
    }
  }

  /** Notes where a member of the outermost object lies, if its key is one of the fields. */
  #recordField(keyStart: number, keyEnd: number, valueStart: number, valueEnd: number): void {
    for (let field = 0; field < KEYS.length; field++) {
      const key = KEYS[field]!;
      if (key.length !== keyEnd - keyStart || !isAt(this.#bytes, keyStart, key)) continue;
      const isRepeated = this.#starts[field] !== this.#end;
      if (isRepeated) this.#unknown();
      this.#starts[field] = valueStart;
      this.#ends[field] = valueEnd;
      if (field === EVENT_DATA) this.#eventAmountStart = this.#amountStart;
    }
  }

  #array(open: number, depth: number): number {
    if (depth > MAX_DEPTH) return this.#unknown();
    const bytes = this.#bytes;
    let at = this.#space(open + 1);
    if (bytes[at] === CLOSE_BRACKET) return at + 1;
    for (;;) {
      at = this.#space(this.#value(at, depth + 1));
      if (bytes[at] === CLOSE_BRACKET) return at + 1;
      if (bytes[at] !== COMMA) return this.#unknown();
      at = this.#space(at + 1);
    }
  }

  #string(open: number): number {
    const bytes = this.#bytes;
    let at = open + 1;
    let byte = bytes[at]!;
    let all = 0;
    while (byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH) {
      all |= byte;
      byte = bytes[++at]!;
    }
    this.#stringBytes |= all;
    return byte === QUOTE ? at + 1 : this.#unknown();
  }

  #number(start: number): number {
    const bytes = this.#bytes;
    let at = bytes[start] === MINUS ? start + 1 : start;
    let end = this.#digits(at);
    const hasLeadingZero = bytes[at] === DIGIT_0 && end > at + 1;
    if (end === at || hasLeadingZero) return this.#unknown();
    if (bytes[end] === POINT) {
      at = end + 1;
      end = this.#digits(at);
      if (end === at) return this.#unknown();
    }
    if (isExponent(bytes[end]!)) {
      at = end + 1;
      if (bytes[at] === PLUS || bytes[at] === MINUS) at++;
      end = this.#digits(at);
      if (end === at) return this.#unknown();
    }
    return end;
  }

  #digits(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    while (isDigit(bytes[at]!)) at++;
    return at;
  }

  #literal(at: number, word: Buffer): number {
    return isAt(this.#bytes, at, word) ? at + word.length : this.#unknown();
  }

  /** A newline is white space, so this method must check for the end of the record. */
  #space(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    let byte = bytes[at]!;
    if (byte > SPACE) return at;
    while (at < this.#end && (byte === SPACE || byte === NEWLINE || byte === RETURN || byte === TAB)) {
      byte = bytes[++at]!;
    }
    return at;
  }

  #unknown(): number {
    this.#isKnown = false;
    return this.#end;
  }
}
