// Makes the records of a chaos run: the same record for the same number.

export const EVENT_TYPES = ["page_view", "click", "search", "purchase", "login"] as const;
const USERS = 503;
const HOUR_MS = 3_600_000;
/** One record in so many is no event, and in every other stretch one in so many repeats an earlier event. */
const BROKEN_EVERY = 101;
const REPEAT_EVERY = 97;
const REPEAT_STRETCH = 6000;
/** One record in so many goes to the topic whose log is cut, trimmed and created again. */
const EDGE_EVERY = 8;

/** What the tables must hold of an event. */
export interface EventFacts {
  readonly user: string;
  readonly type: (typeof EVENT_TYPES)[number];
  /** Hours since 1970, UTC. */
  readonly hour: number;
  /** Milliseconds within that hour. */
  readonly msOfHour: number;
  readonly durationMs: number | undefined;
}

/** True for a record that is no event and becomes a dead letter. */
export function isBroken(number: number): boolean {
  return number % BROKEN_EVERY === BROKEN_EVERY - 1;
}

/** The number of the event that a record carries: its own, or that of the record that it repeats. */
export function eventOf(number: number): number {
  const isRepeat =
    Math.floor(number / REPEAT_STRETCH) % 2 === 0 && number % REPEAT_EVERY === REPEAT_EVERY - 1;
  const repeated = number - (REPEAT_EVERY - 1);
  return isRepeat && !isBroken(repeated) ? repeated : number;
}

/** True for a record of the topic whose log suffers; the others go to the main topic. */
export function isOfEdge(number: number): boolean {
  return number % EDGE_EVERY === 3;
}

/** @param baseHour the hour in which the run began, hours since 1970 */
export function factsOf(event: number, baseHour: number): EventFacts {
  return {
    user: `user_${(event * 7) % USERS}`,
    type: EVENT_TYPES[event % EVENT_TYPES.length]!,
    // Most of them in the hour of the run; some in hours that are closed or about to be.
    hour: baseHour - Math.max(0, (event % 7) - 4),
    msOfHour: event % HOUR_MS,
    // Eighths of a second: exact in binary and in milliseconds.
    durationMs: event % 4 === 0 ? undefined : (event % 1000) * 125,
  };
}

/** The key and the value of a record as it is published. */
export function recordOf(number: number, baseHour: number): { readonly key: string; readonly value: string } {
  if (isBroken(number)) return { key: `broken_${number}`, value: `{"event_id":"broken_${number}"` };
  const event = eventOf(number);
  const { user, type, hour, msOfHour, durationMs } = factsOf(event, baseHour);
  const value = JSON.stringify({
    event_id: `chaos_${event}`,
    user_id: user,
    event_type: type,
    timestamp: new Date(hour * HOUR_MS + msOfHour).toISOString(),
    event_data: { amount: event % 250, page_url: `/page/${event % 17}` },
    ...(durationMs === undefined ? {} : { duration_seconds: durationMs / 1000 }),
  });
  // A repeat has another key, which may mean another partition.
  return { key: event === number ? user : `${user}_again`, value };
}

/** What a record of the log is: the number of its event, or -1 minus the number of a broken record. */
export type RecordCode = number;

export function codeOf(number: number): RecordCode {
  return isBroken(number) ? -1 - number : eventOf(number);
}

/** @throws Error for a value that is no record of a run */
export function codeOfValue(value: string): RecordCode {
  const found = /^\{"event_id":"(chaos|broken)_(\d+)"/.exec(value);
  if (found === null) throw new Error(`not a record of this run: ${value.slice(0, 80)}`);
  return found[1] === "chaos" ? Number(found[2]) : -1 - Number(found[2]);
}
