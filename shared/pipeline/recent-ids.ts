// Keeps the event ids that a worker stored last.

/**
 * The event ids that were stored last, between `size` and twice `size` of them. Without raw rows it is the only way
 * to recognize a duplicate.
 */
export class RecentIds {
  readonly #size: number;
  #newer = new Set<string>();
  #older = new Set<string>();

  constructor(size = 250_000) {
    this.#size = size;
  }

  has(eventId: string): boolean {
    return this.#newer.has(eventId) || this.#older.has(eventId);
  }

  /** Remembers ids; call it only after their COMMIT was answered. */
  committed(eventIds: Iterable<string>): void {
    for (const id of eventIds) this.#newer.add(id);
    if (this.#newer.size >= this.#size) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
  }

  clear(): void {
    this.#newer.clear();
    this.#older.clear();
  }
}
