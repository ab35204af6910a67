// Interns short ASCII strings so that repeated values share one instance.

const LAST_ASCII = 127;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/**
 * A cache of strings that are likely to repeat. The hash of a string's bytes is its place; of two strings with the
 * same place the later one replaces the other. A repeated string takes no memory, and a Map that looks it up finds
 * its hash already computed. A string that is not ASCII is not kept.
 */
export class StringInterner {
  readonly #strings: string[];
  readonly #mask: number;

  /** @param size the most strings kept; a power of two */
  constructor(size: number) {
    this.#strings = Array.from({ length: size }, () => "");
    this.#mask = size - 1;
  }

  /** The string of these bytes, which are valid UTF-8. */
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
    const kept = this.#strings[place]!;
    if (spells(kept, bytes, start, end)) return kept;
    const text = bytes.toString("latin1", start, end);
    this.#strings[place] = text;
    return text;
  }
}

/** True where the bytes spell `text`, which is ASCII. */
function spells(text: string, bytes: Buffer, start: number, end: number): boolean {
  const { length } = text;
  if (length !== end - start) return false;
  for (let at = 0; at < length; at++) if (text.charCodeAt(at) !== bytes[start + at]) return false;
  return true;
}
