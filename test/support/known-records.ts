// Generates the records that a test publishes: by index, so that their sums are known.

/** What a test has published. */
export interface Published {
  records: number;
  /** Distinct valid event ids. */
  events: number;
  /** Valid events that repeat an id. */
  repeats: number;
  /** Records that are not valid events. */
  broken: number;
}

/**
 * Every so many records one repeats an id, and one is broken. There are long stretches without a repeat: raw events
 * are written in another way then.
 */
const REPEAT_EVERY = 97;
const REPEAT_STRETCH = 6000;
const BROKEN_EVERY = 101;
const TYPES = ["page_view", "click", "search", "purchase", "login"] as const;

function isBroken(index: number): boolean {
  return index % BROKEN_EVERY === BROKEN_EVERY - 1;
}

/** The record at `index` of a test's stream: always the same, and different from all others but its repeats. */
export function recordAt(index: number): {
  readonly key: string;
  readonly value: string;
  kind: keyof Published;
} {
  const user = `user_${index % 211}`;
  if (index % BROKEN_EVERY === BROKEN_EVERY - 1)
    return { key: user, value: `{"event_id":"broken_${index}"`, kind: "broken" };
  const isRepeat =
    Math.floor(index / REPEAT_STRETCH) % 2 === 0 &&
    index % REPEAT_EVERY === REPEAT_EVERY - 1 &&
    !isBroken(index - (REPEAT_EVERY - 1));
  // A repeat may go to another partition than the first: its key is its own.
  const of = isRepeat ? index - (REPEAT_EVERY - 1) : index;
  const type = TYPES[of % TYPES.length]!;
  const value = JSON.stringify({
    event_id: `${type}_${of}`,
    user_id: `user_${of % 211}`,
    event_type: type,
    timestamp: new Date(Date.UTC(2026, 0, 1, of % 3, 0, 0, of % 1000)).toISOString(),
    event_data: { amount: of % 250, page_url: `/page/${of % 17}`, session_id: `session_${of}` },
    ...(of % 4 === 0 ? {} : { duration_seconds: (of % 1000) / 8 }),
  });
  return { key: isRepeat ? `${user}_again` : user, value, kind: isRepeat ? "repeats" : "events" };
}
