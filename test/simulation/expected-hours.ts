// Keeps the hours that the stored events sum up to.

import type { RawRow } from "../properties/fold.ts";

const MICROS_PER_HOUR = 3_600_000_000n;

export interface ExpectedHour {
  readonly hour: number;
  readonly eventType: string;
  events: number;
  durationMs: bigint;
  durations: number;
  readonly users: Map<string, number>;
}

export class ExpectedHours {
  readonly #byKey = new Map<string, ExpectedHour>();

  get(hour: number, eventType: string): ExpectedHour | undefined {
    return this.#byKey.get(`${hour} ${eventType}`);
  }

  /** @returns the hour that the event belongs to */
  add(row: RawRow): ExpectedHour {
    return this.#change(row, 1);
  }

  /** A crash has taken the event back. */
  remove(row: RawRow): void {
    this.#change(row, -1);
  }

  all(): ExpectedHour[] {
    return [...this.#byKey.values()].filter(({ events }) => events > 0);
  }

  #change({ micros, type, durationMs, user }: RawRow, by: 1 | -1): ExpectedHour {
    const hour = Number(micros / MICROS_PER_HOUR);
    const key = `${hour} ${type}`;
    let expected = this.#byKey.get(key);
    if (expected === undefined) {
      expected = { hour, eventType: type, events: 0, durationMs: 0n, durations: 0, users: new Map() };
      this.#byKey.set(key, expected);
    }
    expected.events += by;
    if (durationMs !== null) {
      expected.durationMs += BigInt(durationMs * by);
      expected.durations += by;
    }
    const events = (expected.users.get(user) ?? 0) + by;
    if (events === 0) expected.users.delete(user);
    else expected.users.set(user, events);
    return expected;
  }
}
