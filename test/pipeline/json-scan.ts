// Scans valid JSON text for what JSON.parse does not report: depth, the text of a member, unstorable escapes.

const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const BACKSLASH = 92;
const OPEN_BRACKET = 91;
const CLOSE_BRACKET = 93;
const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** What one pass over the text of a JSON value finds. */
export interface JsonScan {
  /** How deep arrays and objects nest; 0 for a bare string, number or literal. */
  readonly depth: number;
  /**
   * The text of the named member of the outermost object, with all digits of its numbers; undefined where there is
   * none. The last of a repeated key counts, as in JSON.parse and in jsonb.
   */
  readonly member: string | undefined;
}

/**
 * Walks valid JSON text once.
 * @param text JSON that JSON.parse accepts; any other text gives a meaningless result
 * @param key the member of the outermost object to find
 */
export function scanJson(text: string, key: string): JsonScan {
  let depth = 0;
  let deepest = 0;
  let inObject = false;
  let expectKey = false;
  let isWanted = false;
  let memberStart = -1;
  let memberEnd = -1;
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE: {
        const end = endOfString(text, at);
        if (expectKey) {
          isWanted = keyAt(text, at, end) === key;
          expectKey = false;
        }
        at = end;
        break;
      }
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > deepest) deepest = depth;
        if (depth === 1) {
          inObject = text.charCodeAt(at) === OPEN_BRACE;
          expectKey = inObject;
        }
        break;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (--depth === 0 && isWanted) memberEnd = at;
        break;
      case COLON:
        if (depth === 1 && isWanted) memberStart = at + 1;
        break;
      case COMMA:
        if (depth === 1 && inObject) {
          if (isWanted) memberEnd = at;
          isWanted = false;
          expectKey = true;
        }
        break;
    }
  }
  return { depth: deepest, member: memberStart < 0 ? undefined : text.slice(memberStart, memberEnd).trim() };
}

/** The key between two quotes; a key with escapes, which is rare, goes through JSON.parse. */
function keyAt(text: string, open: number, close: number): string {
  const raw = text.slice(open + 1, close);
  return raw.includes("\\") ? (JSON.parse(text.slice(open, close + 1)) as string) : raw;
}

/** The closing quote of the string that opens at `open`. */
function endOfString(text: string, open: number): number {
  let close = text.indexOf('"', open + 1);
  // A quote after an odd number of backslashes is part of the string.
  while (text.charCodeAt(close - 1) === BACKSLASH) {
    let backslashes = 1;
    while (text.charCodeAt(close - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) break;
    close = text.indexOf('"', close + 1);
  }
  return close;
}

/**
 * Finds the first escape of a character that PostgreSQL text cannot hold: NUL, or half of a surrogate pair. It reads
 * the text and not the parsed value, because a repeated key that JSON.parse dropped still reaches jsonb. In valid
 * UTF-8 an escape is the only way to write either.
 *
 * @returns the character and its position, or undefined
 */
export function findUnstorableEscape(text: string): string | undefined {
  let at = text.indexOf("\\");
  while (at >= 0) {
    if (text[at + 1] === "u") {
      const unit = hexUnit(text, at);
      if (unit === 0) return `\\u0000 at character ${at}`;
      if (unit >= 0xd800 && unit <= 0xdfff) {
        const low = text.startsWith("\\u", at + 6) ? hexUnit(text, at + 6) : 0;
        if (unit > 0xdbff || low < 0xdc00 || low > 0xdfff)
          return `half of a surrogate pair at character ${at}`;
        at += 6;
      }
      at += 6;
    } else {
      at += 2;
    }
    at = text.indexOf("\\", at);
  }
  return undefined;
}

/** The UTF-16 code unit of the `\uXXXX` at `at`. */
function hexUnit(text: string, at: number): number {
  return Number.parseInt(text.slice(at + 2, at + 6), 16);
}
