// What a worker remembers of the database: entered only after a COMMIT was answered, thrown away with the connection.

import type { HourDelta } from "../event.ts";
import type { KnownUsers } from "./aggregate.ts";

/** Users known to be in hourly_users. Hours, types and users are an open set: when it is full it is cleared. */
export class KnownUserCache implements KnownUsers {
  readonly #byHour = new Map<number, Map<string, Set<string>>>();
  readonly #maxEntries: number;
  #entries = 0;

  constructor(maxEntries = 500_000) {
    this.#maxEntries = maxEntries;
  }

  of(hour: number, eventType: string): ReadonlySet<string> | undefined {
    return this.#byHour.get(hour)?.get(eventType);
  }

  /** Remembers the users of deltas whose COMMIT was answered. */
  committed(deltas: readonly HourDelta[]): void {
    for (const { hour, eventType, newUserCandidates } of deltas) {
      if (this.#entries + newUserCandidates.length + 1 > this.#maxEntries) this.clear();
      let byType = this.#byHour.get(hour);
      if (byType === undefined) {
        byType = new Map();
        this.#byHour.set(hour, byType);
      }
      let users = byType.get(eventType);
      if (users === undefined) {
        users = new Set();
        byType.set(eventType, users);
        this.#entries++;
      }
      for (const user of newUserCandidates) users.add(user);
      this.#entries += newUserCandidates.length;
    }
  }

  clear(): void {
    this.#byHour.clear();
    this.#entries = 0;
  }
}

/**
 * The event ids that were stored last: where no raw rows are kept, the only way to see a duplicate. Holds
 * between `size` and twice `size` ids.
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

  /** Remembers ids whose COMMIT was answered. */
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
