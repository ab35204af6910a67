// The bytes of a string in; the string out, the same one as before where it came before.

const LAST_ASCII = 127;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * Strings of UTF-8 that are likely to come again, each where the hash of its bytes points to; two of one place take
 * turns in it. One that comes again takes no memory, and whatever looks it up finds its own hash computed.
 */
export class StringInterner {
  readonly #strings: string[];
  readonly #mask: number;

  /** @param size the most strings remembered; a power of two */
  constructor(size: number) {
    this.#strings = Array.from({ length: size }, () => "");
    this.#mask = size - 1;
  }

  /** The string that these bytes, which are valid UTF-8, spell out. */
  get(bytes: Buffer, start: number, end: number): string {
    let hash = FNV_OFFSET;
    let all = 0;
    for (let at = start; at < end; at++) {
      const byte = bytes[at]!;
      all |= byte;
      hash = Math.imul(hash ^ byte, FNV_PRIME);
    }
    if (all > LAST_ASCII) return bytes.toString("utf8", start, end);
    const place = (hash ^ (hash >>> 15)) & this.#mask;
    const remembered = this.#strings[place]!;
    if (spells(remembered, bytes, start, end)) return remembered;
    const text = bytes.toString("latin1", start, end);
    this.#strings[place] = text;
    return text;
  }
}

/** True where the bytes are those of a text of ASCII. */
function spells(text: string, bytes: Buffer, start: number, end: number): boolean {
  const { length } = text;
  if (length !== end - start) return false;
  for (let at = 0; at < length; at++) if (text.charCodeAt(at) !== bytes[start + at]) return false;
  return true;
}
