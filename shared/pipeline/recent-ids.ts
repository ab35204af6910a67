// Keeps the event ids that a worker stored last.

/** UTF-16 units of the ids of one set: as many as 250,000 ids of 100 characters have, unless those are beyond U+FFFF. */
const MAX_UNITS = 25_000_000;

/**
 * The event ids that were stored last, between `size` and twice `size` of them. Without raw rows it is the only way
 * to recognize a duplicate.
 */
export class RecentIds {
  readonly #size: number;
  #newer = new Set<string>();
  #older = new Set<string>();
  readonly #maxUnits: number;
  /** Of the newer ids. */
  #units = 0;

  constructor(size = 250_000, maxUnits = MAX_UNITS) {
    this.#size = size;
    this.#maxUnits = maxUnits;
  }

  has(eventId: string): boolean {
    return this.#newer.has(eventId) || this.#older.has(eventId);
  }

  /** Remembers ids; call it only after their COMMIT was answered. */
  committed(eventIds: Iterable<string>): void {
    for (const id of eventIds) {
      this.#newer.add(id);
      this.#units += id.length;
    }
    if (this.#newer.size >= this.#size || this.#units >= this.#maxUnits) {
      this.#older = this.#newer;
      this.#newer = new Set();
      this.#units = 0;
    }
  }

  clear(): void {
    this.#newer.clear();
    this.#older.clear();
    this.#units = 0;
  }
}
