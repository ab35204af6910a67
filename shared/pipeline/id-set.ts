// Finds ids that occur twice in a batch, from their bytes.

const FNV_PRIME = 0x01000193;

/** The ids of one batch, as ranges of bytes that stay in place until `clear`. */
export class IdSet {
  /** By hash: the index of an id plus 1, or 0. A place that is taken sends to the next one. */
  readonly #places: Int32Array;
  readonly #mask: number;
  readonly #hash: Int32Array;
  readonly #start: Int32Array;
  readonly #end: Int32Array;
  /** Not the same in every process, so that no producer can prepare ids that all have one hash. */
  readonly #basis = (Math.random() * 2 ** 32) | 0;
  #size = 0;

  /** @param maxIds the most ids that it is asked to hold */
  constructor(maxIds: number) {
    const places = 2 ** Math.ceil(Math.log2(2 * maxIds + 2));
    this.#places = new Int32Array(places);
    this.#mask = places - 1;
    this.#hash = new Int32Array(maxIds);
    this.#start = new Int32Array(maxIds);
    this.#end = new Int32Array(maxIds);
  }

  /**
   * Adds the id in [start, end) of `bytes`.
   * @returns true where the same id was added before
   */
  add(bytes: Uint8Array, start: number, end: number): boolean {
    let hash = this.#basis;
    for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, FNV_PRIME);
    const index = this.#size++;
    this.#hash[index] = hash;
    this.#start[index] = start;
    this.#end[index] = end;
    let isRepeated = false;
    let place = (hash ^ (hash >>> 15)) & this.#mask;
    for (let found = this.#places[place]!; found !== 0; found = this.#places[place]!) {
      if (this.#hash[found - 1] === hash && this.#isSame(bytes, found - 1, index)) {
        isRepeated = true;
        break;
      }
      place = (place + 1) & this.#mask;
    }
    this.#places[place] = index + 1;
    return isRepeated;
  }

  clear(): void {
    if (this.#size > 0) this.#places.fill(0);
    this.#size = 0;
  }

  #isSame(bytes: Uint8Array, a: number, b: number): boolean {
    const start = this.#start[a]!;
    const length = this.#end[a]! - start;
    const other = this.#start[b]!;
    if (this.#end[b]! - other !== length) return false;
    for (let at = 0; at < length; at++) if (bytes[start + at] !== bytes[other + at]) return false;
    return true;
  }
}
