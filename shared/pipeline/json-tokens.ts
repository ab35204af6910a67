// Reads the tokens of a JSON text from its bytes, strictly by RFC 8259, without building their values.

import { isAt, isDigit, isExponent, MINUS, PLUS, POINT } from "./byte-parsers.ts";
import { MAX_DIGITS, writtenDigits } from "./number-size.ts";

const TAB = 9;
const NEWLINE = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const DIGIT_0 = 48;
const BACKSLASH = 92;
const SMALL_F = 102;
const SMALL_N = 110;
const SMALL_T = 116;
const SMALL_U = 117;

const TRUE = Buffer.from("true");
const FALSE = Buffer.from("false");
const NULL = Buffer.from("null");

const table = (valueOf: (byte: number) => number) =>
  Int8Array.from({ length: 256 }, (_, byte) => valueOf(byte));
/** 1 for the bytes that stand for themselves in a string. A look-up is faster than three comparisons. */
const IS_PLAIN = table((byte) => (byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0));
/** 1 for the letters that follow a backslash, but for u. */
const IS_SHORT_ESCAPE = table((byte) => ('"\\/bfnrt'.includes(String.fromCharCode(byte)) ? 1 : 0));
/** The values of the hexadecimal digits, -1 for other bytes. */
const HEX_VALUE = table((byte) => "0123456789abcdef".indexOf(String.fromCharCode(byte).toLowerCase()));

/**
 * The tokens of one text at a time, and what the text says about all of them.
 *
 * The methods take the position of a token's first byte and return the position after its last one. A method that
 * meets an error returns the end of the text: the newline there begins no token, so that the next method fails as
 * well and no caller has to look after each token.
 */
export class JsonTokens {
  /** False once an error was met. */
  isValid = true;
  /** The bytes of all strings, combined with OR: above 127 some string is not ASCII. */
  stringBytes = 0;
  /** True where a backslash occurs. */
  hasEscapes = false;
  /** Where the first escape is that stands for NUL or half of a surrogate pair; -1 without one. */
  unstorableEscape = -1;
  /** Where the latest number starts that has more than MAX_DIGITS digits when written out; -1 without one. */
  longNumber = -1;
  #bytes: Buffer = Buffer.alloc(0);
  #end = 0;

  /**
   * Begins a text.
   * @param bytes the buffer that holds the text, with a newline after it
   * @param end where the text ends (exclusive)
   */
  begin(bytes: Buffer, end: number): void {
    this.#bytes = bytes;
    this.#end = end;
    this.isValid = true;
    this.stringBytes = 0;
    this.hasEscapes = false;
    this.unstorableEscape = -1;
    this.longNumber = -1;
  }

  /** @returns the end of the text, as every method does that meets an error */
  error(): number {
    this.isValid = false;
    return this.#end;
  }

  /** Skips white space. Most texts have little of it, so the loop is elsewhere and the test is inlined. */
  space(at: number): number {
    return this.#bytes[at]! > SPACE ? at : this.#skipSpace(at);
  }

  /** A newline is white space, so this method must check for the end of the text. */
  #skipSpace(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    let byte = bytes[at]!;
    while (at < this.#end && (byte === SPACE || byte === NEWLINE || byte === RETURN || byte === TAB)) {
      byte = bytes[++at]!;
    }
    return at;
  }

  /** A string, from quote to quote. That its bytes are UTF-8 is left to the caller, who has `stringBytes`. */
  string(open: number): number {
    const bytes = this.#bytes;
    let at = open + 1;
    let byte = bytes[at]!;
    let all = 0;
    for (;;) {
      while (IS_PLAIN[byte] === 1) {
        all |= byte;
        byte = bytes[++at]!;
      }
      if (byte !== BACKSLASH) break;
      at = this.#escape(at);
      byte = bytes[at]!;
    }
    this.stringBytes |= all;
    return byte === QUOTE ? at + 1 : this.error();
  }

  #escape(at: number): number {
    const bytes = this.#bytes;
    this.hasEscapes = true;
    if (bytes[at + 1] !== SMALL_U) return IS_SHORT_ESCAPE[bytes[at + 1]!] === 1 ? at + 2 : this.error();
    const unit = this.#hexUnit(at);
    if (unit < 0) return this.error();
    if (unit === 0) {
      this.#noteUnstorable(at);
    } else if (unit >= 0xd800 && unit <= 0xdfff) {
      const isLowNext = unit <= 0xdbff && bytes[at + 6] === BACKSLASH && bytes[at + 7] === SMALL_U;
      const low = isLowNext ? this.#hexUnit(at + 6) : -1;
      if (low >= 0xdc00 && low <= 0xdfff) return at + 12;
      this.#noteUnstorable(at);
    }
    return at + 6;
  }

  /** The UTF-16 unit of the `\uXXXX` at `at`; -1 without four hexadecimal digits. */
  #hexUnit(at: number): number {
    const bytes = this.#bytes;
    let unit = 0;
    for (let digit = at + 2; digit < at + 6; digit++) {
      const value = HEX_VALUE[bytes[digit]!]!;
      if (value < 0) return -1;
      unit = unit * 16 + value;
    }
    return unit;
  }

  #noteUnstorable(at: number): void {
    if (this.unstorableEscape < 0) this.unstorableEscape = at;
  }

  /** A number or a literal; everything that is no string and no bracket must be one. */
  scalar(at: number): number {
    switch (this.#bytes[at]!) {
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

  #literal(at: number, word: Buffer): number {
    return isAt(this.#bytes, at, word) ? at + word.length : this.error();
  }

  #number(start: number): number {
    const bytes = this.#bytes;
    let at = bytes[start] === MINUS ? start + 1 : start;
    let end = this.#digits(at);
    const hasLeadingZero = bytes[at] === DIGIT_0 && end > at + 1;
    if (end === at || hasLeadingZero) return this.error();
    if (bytes[end] === POINT) {
      at = end + 1;
      end = this.#digits(at);
      if (end === at) return this.error();
    }
    const hasExponent = isExponent(bytes[end]!);
    if (hasExponent) {
      at = end + 1;
      if (bytes[at] === PLUS || bytes[at] === MINUS) at++;
      end = this.#digits(at);
      if (end === at) return this.error();
    }
    // Without an exponent a number has no more digits than bytes.
    const maybeLong = hasExponent || end - start > MAX_DIGITS;
    if (maybeLong && writtenDigits(bytes, start, end) > MAX_DIGITS) this.longNumber = start;
    return end;
  }

  #digits(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    while (isDigit(bytes[at]!)) at++;
    return at;
  }
}
