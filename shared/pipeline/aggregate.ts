// Sums new events into what they add to each hour and event type.

import type { HourDelta } from "../event.ts";
import type { KnownUsers } from "./known-users.ts";

export const HOUR_MS = 3_600_000;

/** What the aggregation needs of events, in parallel arrays. */
export interface EventColumns {
  readonly userId: readonly string[];
  readonly eventType: readonly string[];
  /** Milliseconds since 1970. */
  readonly timestampMs: ArrayLike<number>;
  /** Whole milliseconds; NaN where the event carries no duration. */
  readonly durationMs: ArrayLike<number>;
}

/** Settings of the aggregation. */
export interface AggregationOptions {
  /** processed_at of the events, ms since 1970. */
  readonly processedAtMs: number;
  /** How long after its end an hour stays open, ms. */
  readonly hourGraceMs: number;
  /** True where the events get no raw rows. */
  readonly unsaved: boolean;
}

interface Accumulator {
  readonly hour: number;
  readonly eventType: string;
  readonly known: ReadonlySet<string> | undefined;
  readonly candidates: Set<string>;
  totalEvents: number;
  totalDurationMs: number;
  /** The part of the sum moved out of `totalDurationMs`: above 2^53 numbers lose their last digits. */
  carriedDurationMs: bigint;
  durationCount: number;
}

/** A sum above this moves into a bigint; one more duration (at most 1e12 ms) still fits below 2^53. */
const CARRY_ABOVE_MS = 2 ** 52;

/**
 * Sums events by hour and type. The order of the events does not matter: durations are whole milliseconds.
 * @param indexes of the events to sum
 * @param known the users that need not be sent again
 */
export function aggregate(
  { userId, eventType, timestampMs, durationMs }: EventColumns,
  indexes: Iterable<number>,
  known: Pick<KnownUsers, "of">,
  { processedAtMs, hourGraceMs, unsaved }: AggregationOptions,
): HourDelta[] {
  const byHour = new Map<number, Map<string, Accumulator>>();
  // Most events belong to the hour of the event before.
  let hour = Number.NaN;
  let sums = new Map<string, Accumulator>();
  for (const index of indexes) {
    const hourOfEvent = Math.floor(timestampMs[index]! / HOUR_MS);
    if (hourOfEvent !== hour) {
      hour = hourOfEvent;
      sums = byHour.get(hour) ?? new Map<string, Accumulator>();
      byHour.set(hour, sums);
    }
    const type = eventType[index]!;
    let sum = sums.get(type);
    if (sum === undefined) {
      sum = makeAccumulator(hour, type, known);
      sums.set(type, sum);
    }
    sum.totalEvents++;
    const duration = durationMs[index]!;
    if (!Number.isNaN(duration)) {
      sum.durationCount++;
      sum.totalDurationMs += duration;
      if (sum.totalDurationMs > CARRY_ABOVE_MS) {
        sum.carriedDurationMs += BigInt(sum.totalDurationMs);
        sum.totalDurationMs = 0;
      }
    }
    const user = userId[index]!;
    if (sum.known === undefined || !sum.known.has(user)) sum.candidates.add(user);
  }
  const deltas: HourDelta[] = [];
  for (const byType of byHour.values()) {
    for (const sum of byType.values()) {
      const isLate = processedAtMs >= (sum.hour + 1) * HOUR_MS + hourGraceMs;
      deltas.push({
        hour: sum.hour,
        eventType: sum.eventType,
        totalEvents: sum.totalEvents,
        totalDurationMs: sum.carriedDurationMs + BigInt(sum.totalDurationMs),
        durationCount: sum.durationCount,
        lateEvents: isLate ? sum.totalEvents : 0,
        unsavedEvents: unsaved ? sum.totalEvents : 0,
        newUserCandidates: [...sum.candidates],
      });
    }
  }
  return deltas;
}

function makeAccumulator(hour: number, eventType: string, known: Pick<KnownUsers, "of">): Accumulator {
  return {
    hour,
    eventType,
    known: known.of(hour, eventType),
    candidates: new Set(),
    totalEvents: 0,
    totalDurationMs: 0,
    carriedDurationMs: 0n,
    durationCount: 0,
  };
}
