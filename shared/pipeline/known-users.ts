// Keeps the users that a worker knows to be stored, so that they are not sent to PostgreSQL again.

import type { HourDelta } from "../event.ts";

/** Bounds the memory of long ids: 16 million UTF-16 units, at most 32 MB. Of ids with up to 32 units all entries fit. */
const MAX_UNITS = 16_000_000;

/**
 * Users known to be in hourly_users. Hours, types and users are an open set: the memory is cleared when it is full.
 * A user that is not known is only sent again, so knowing fewer is never wrong.
 */
export class KnownUsers {
  readonly #byHour = new Map<number, Map<string, Set<string>>>();
  readonly #maxEntries: number;
  readonly #maxUnits: number;
  #entries = 0;
  /** UTF-16 units of all ids and types. */
  #units = 0;

  constructor(maxEntries = 500_000, maxUnits = MAX_UNITS) {
    this.#maxEntries = maxEntries;
    this.#maxUnits = maxUnits;
  }

  /** The known users of one hour and event type; undefined where none is known. */
  of(hour: number, eventType: string): ReadonlySet<string> | undefined {
    return this.#byHour.get(hour)?.get(eventType);
  }

  /** Remembers the users of deltas; call it only after their COMMIT was answered. */
  committed(deltas: readonly HourDelta[]): void {
    for (const { hour, eventType, newUserCandidates } of deltas) {
      let units = eventType.length;
      for (const user of newUserCandidates) units += user.length;
      const isFull =
        this.#entries + newUserCandidates.length + 1 > this.#maxEntries ||
        this.#units + units > this.#maxUnits;
      if (isFull) this.clear();
      this.#units += units;
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
    this.#units = 0;
  }
}
