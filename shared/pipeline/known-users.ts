// Keeps the users that a worker knows to be stored, so that they are not sent to PostgreSQL again.

import type { HourDelta } from "../event.ts";

/**
 * Users known to be in hourly_users. Hours, types and users are an open set: the memory is cleared when it is full.
 * A user that is not known is only sent again, so knowing fewer is never wrong.
 */
export class KnownUsers {
  readonly #byHour = new Map<number, Map<string, Set<string>>>();
  readonly #maxEntries: number;
  #entries = 0;

  constructor(maxEntries = 500_000) {
    this.#maxEntries = maxEntries;
  }

  /** The known users of one hour and event type; undefined where none is known. */
  of(hour: number, eventType: string): ReadonlySet<string> | undefined {
    return this.#byHour.get(hour)?.get(eventType);
  }

  /** Remembers the users of deltas; call it only after their COMMIT was answered. */
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
