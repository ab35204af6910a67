// Proves that every stored event has its row in raw_events, with valid values.

import { HIGH_VALUE_AMOUNT } from "../../pipeline/enrich.ts";
import type { Transaction } from "../session.ts";
import type { HourSums } from "./hour-counts.ts";
import { type Faults, type Invariant, makeInvariant, MAX_SAMPLES } from "./report.ts";
import { type CheckScope, eventsIn } from "./scope.ts";
import { count } from "../../text/format.ts";

const IS_PRICED = `(event_type = 'purchase' and jsonb_typeof(event_data -> 'amount') = 'number')`;

// The pipeline compares the amount as the nearest double. A numeric far from the limit is compared directly, because
// the cast fails for a value beyond the range of a double.
const AMOUNT = `(event_data -> 'amount')::numeric`;
const IS_HIGH_VALUE = `(case when ${AMOUNT} > ${HIGH_VALUE_AMOUNT + 1} then true
  when ${AMOUNT} < ${HIGH_VALUE_AMOUNT} then false else ${AMOUNT}::float8 > ${HIGH_VALUE_AMOUNT} end)`;

/** Only purchases with an amount are enriched; in other events a member of this name belongs to the producer. */
const FLAG_IS_WRONG = `(case when ${IS_PRICED}
  then (event_data -> 'is_high_value') is distinct from to_jsonb(${IS_HIGH_VALUE}) else false end)`;

// NaN counts as greater than every number.
const DURATION_IS_WRONG = `(duration_seconds is not null and not (
  duration_seconds between 0 and 1e9 and duration_seconds = round(duration_seconds * 1000) / 1000))`;

/** The counts of one pass over raw_events. */
interface RawFigures {
  rows: number;
  durations: number;
  wrong_durations: number;
  purchases: number;
  wrong_flags: number;
}

/**
 * @param stored the events that the offsets account for as stored
 * @param sums the events that the hours count without a raw row in the scope
 */
export async function checkRawEvents(
  tx: Transaction,
  stored: number,
  { unsaved_events, pruned_events, earlier_events }: HourSums,
  scope: CheckScope,
): Promise<{ rows: number; invariants: Invariant[] }> {
  const [figures] = await tx.unsafe<[RawFigures]>(`
    select count(*) as rows,
      count(duration_seconds) as durations,
      count(*) filter (where ${DURATION_IS_WRONG}) as wrong_durations,
      count(*) filter (where ${IS_PRICED}) as purchases,
      count(*) filter (where ${FLAG_IS_WRONG}) as wrong_flags
    from raw_events where ${eventsIn(scope)}`);
  const { rows, durations, wrong_durations, purchases, wrong_flags } = figures;
  const others = [
    [unsaved_events, "without one"],
    [pruned_events, "pruned"],
    [earlier_events, "of earlier hours, taken on trust"],
  ] as const;
  const difference = others.reduce((sum, [events]) => sum + events, rows) - stored;
  const shown = others.filter(([events], index) => index === 0 || events > 0);
  return {
    rows,
    invariants: [
      makeInvariant(
        "stored_events_kept",
        `${count(stored)} events stored, ${count(rows)} rows of raw_events${shown.map(([events, what]) => ` + ${count(events)} ${what}`).join("")}`,
        difference === 0
          ? { count: 0, samples: [] }
          : {
              count: 1,
              samples: [`${count(Math.abs(difference))} too ${difference < 0 ? "few" : "many"}`],
            },
      ),
      makeInvariant(
        "durations_in_range",
        `${count(durations)} durations: whole milliseconds, 0 to 1e9 s`,
        await samplesOf(tx, scope, wrong_durations, DURATION_IS_WRONG, "duration_seconds::text"),
      ),
      makeInvariant(
        "high_value_flags_recomputed",
        `${count(purchases)} purchases with an amount, is_high_value where it is above ${HIGH_VALUE_AMOUNT}`,
        await samplesOf(
          tx,
          scope,
          wrong_flags,
          FLAG_IS_WRONG,
          `format('amount %s, is_high_value %s', event_data -> 'amount', coalesce((event_data -> 'is_high_value')::text, 'missing'))`,
        ),
      ),
    ],
  };
}

/** Reads samples of wrong rows in a second pass, which runs only where there are any. */
async function samplesOf(
  tx: Transaction,
  scope: CheckScope,
  wrong: number,
  condition: string,
  wording: string,
): Promise<Faults> {
  if (wrong === 0) return { count: 0, samples: [] };
  const rows = await tx.unsafe<{ event_id: string; words: string }[]>(
    `select event_id, left(${wording}, 200) as words from raw_events where ${eventsIn(scope)} and ${condition} limit ${MAX_SAMPLES}`,
  );
  return { count: wrong, samples: rows.map(({ event_id, words }) => `${event_id}: ${words}`) };
}
