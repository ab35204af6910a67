// Scans the bytes of a record once: checks that it is JSON, and notes where the members of an event lie.

import { isAt } from "./byte-parsers.ts";
import { JsonTokens } from "./json-tokens.ts";

const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const OPEN_BRACKET = 91;
const OPEN_BRACE = 123;
/** How far after its opening bracket a closing one comes in ASCII. */
const TO_CLOSING = 2;

/** The members of an event, in the order of most producers. A member is known by its place here. */
export const MEMBERS = [
  "event_id",
  "user_id",
  "event_type",
  "timestamp",
  "event_data",
  "duration_seconds",
] as const;
export const [EVENT_ID, USER_ID, EVENT_TYPE, TIMESTAMP, EVENT_DATA, DURATION_SECONDS] = [
  0, 1, 2, 3, 4, 5,
] as const;
/** Stands for every other member, and for a missing one. */
export const NONE = -1;

/** The keys as most producers write them. */
const KEYS = MEMBERS.map((name) => Buffer.from(`"${name}"`));
const AMOUNT = Buffer.from('"amount"');
/** A key that is longer is none of these, even with each character written as `\uXXXX`. */
const MAX_KEY_BYTES = 2 + 6 * Math.max(...MEMBERS.map(({ length }) => length));
/** Levels that the stack holds at first. */
const USUAL_DEPTH = 128;

/**
 * Scans one record at a time. It builds no value: memory does not depend on what a record holds. After `scan` the
 * fields say what it found, until the next `scan`.
 */
export class RecordScanner {
  /** What is known of all tokens of the record. */
  readonly tokens = new JsonTokens();
  /** Where the record's value starts, after white space. */
  start = 0;
  /** How deep arrays and objects nest; 0 for a bare string, number or literal. */
  depth = 0;
  /** By member of the outermost object: where its value starts, or NONE. The last of a repeated key counts, as in jsonb. */
  readonly starts = new Int32Array(MEMBERS.length);
  /** By member: where its value ends (exclusive). */
  readonly ends = new Int32Array(MEMBERS.length);
  /** Where the value of `amount` in event_data starts, or NONE. */
  amountStart = NONE;
  /** Where a number of more than MAX_DIGITS digits starts in event_data, or NONE. */
  longNumber = NONE;
  #bytes: Buffer = Buffer.alloc(0);
  /** For each open bracket 1 where an object is around it. */
  #inObject = new Uint8Array(USUAL_DEPTH);

  /**
   * @param bytes the buffer that holds the record, with a newline after it
   * @param start where the record starts
   * @param end where it ends (exclusive)
   * @returns true for JSON, provided that the bytes are UTF-8; after false the fields mean nothing
   */
  scan(bytes: Buffer, start: number, end: number): boolean {
    this.#bytes = bytes;
    this.tokens.begin(bytes, end);
    this.depth = 0;
    this.starts.fill(NONE);
    this.amountStart = NONE;
    this.longNumber = NONE;
    this.start = this.tokens.space(start);
    return this.#value(this.start) === end && this.tokens.isValid;
  }

  /**
   * The outermost value and the white space after it. One loop for all levels: a record can open half a million
   * brackets, and is judged by what follows them as well, so that recursion would overflow the stack.
   */
  #value(first: number): number {
    const { tokens } = this;
    const bytes = this.#bytes;
    let at = first;
    let depth = 0;
    let isInObject = false;
    let member: number = NONE;
    // Each round reads a value, in an object with the key before it.
    for (;;) {
      if (isInObject) {
        const keyStart = at;
        if (bytes[at] !== QUOTE) return tokens.error();
        const next = depth === 1 ? KEYS[member + 1] : undefined;
        // Most producers write the members in one order: then the key needs only this comparison.
        const isNext = next !== undefined && isAt(bytes, at, next);
        const keyEnd = isNext ? at + next.length : tokens.string(at);
        at = tokens.space(keyEnd);
        if (bytes[at] !== COLON) return tokens.error();
        at = tokens.space(at + 1);
        if (depth === 1) {
          member = isNext ? member + 1 : this.#memberOf(keyStart, keyEnd);
          if (member !== NONE) this.#startMember(member, at);
        } else if (depth === 2 && member === EVENT_DATA && this.#isKey(keyStart, keyEnd, AMOUNT)) {
          this.amountStart = at;
        }
      }

      const byte = bytes[at]!;
      if (byte === QUOTE) {
        at = tokens.string(at);
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        this.#open(depth++, isInObject);
        isInObject = byte === OPEN_BRACE;
        at = tokens.space(at + 1);
        if (bytes[at] !== byte + TO_CLOSING) continue;
      } else {
        at = tokens.scalar(at);
      }

      // A value has ended, or a bracket without content has been opened: closes what ends here.
      for (;;) {
        if (depth <= 1) {
          if (member !== NONE) this.#endMember(member, at);
          if (depth === 0) return tokens.space(at);
        }
        at = tokens.space(at);
        if (bytes[at] === COMMA) {
          at = tokens.space(at + 1);
          break;
        }
        if (bytes[at] !== (isInObject ? OPEN_BRACE : OPEN_BRACKET) + TO_CLOSING) return tokens.error();
        if (depth === 1) member = NONE;
        isInObject = this.#inObject[--depth] === 1;
        at++;
      }
    }
  }

  #open(depth: number, isInObject: boolean): void {
    if (depth === this.#inObject.length) {
      const grown = new Uint8Array(2 * depth);
      grown.set(this.#inObject);
      this.#inObject = grown;
    }
    this.#inObject[depth] = isInObject ? 1 : 0;
    if (depth >= this.depth) this.depth = depth + 1;
  }

  #startMember(member: number, at: number): void {
    this.starts[member] = at;
    if (member === EVENT_DATA) this.amountStart = NONE;
  }

  #endMember(member: number, at: number): void {
    this.ends[member] = at;
    if (member !== EVENT_DATA) return;
    const { longNumber } = this.tokens;
    this.longNumber = longNumber > this.starts[EVENT_DATA]! ? longNumber : NONE;
  }

  #memberOf(keyStart: number, keyEnd: number): number {
    for (let member = 0; member < KEYS.length; member++) {
      const key = KEYS[member]!;
      if (key.length === keyEnd - keyStart && isAt(this.#bytes, keyStart, key)) return member;
    }
    return this.tokens.hasEscapes ? KEYS.findIndex((key) => this.#isKey(keyStart, keyEnd, key)) : NONE;
  }

  /** True where a key says this, plainly or with escapes. */
  #isKey(start: number, end: number, key: Buffer): boolean {
    if (isAt(this.#bytes, start, key)) return true;
    if (!this.tokens.hasEscapes || end - start > MAX_KEY_BYTES) return false;
    const text = this.#bytes.toString("latin1", start, end);
    return text.includes("\\") && JSON.stringify(JSON.parse(text)) === key.toString();
  }
}
