// Divides the hours into slices that are compared one by one.

import { readRawAccount, type RawAccount } from "../raw-account.ts";
import type { Transaction } from "../session.ts";

/** Events of one slice: compared in about a second. A longer snapshot would make every commit slower. */
const SLICE_EVENTS = 500_000;

/** The hours that begin in [from, to); timestamps as PostgreSQL reads them. */
export interface HourRange {
  readonly from: string;
  readonly to: string;
}

export const ALL_HOURS: HourRange = { from: "-infinity", to: "infinity" };

export interface Slice extends HourRange {
  /** Rows of raw_events when the slices were planned. */
  readonly events: number;
}

export interface Plan {
  readonly account: RawAccount;
  readonly slices: readonly Slice[];
}

/** Plans slices that together cover the range, also where raw_events has no event. */
export async function planSlices(
  tx: Transaction,
  { from, to }: HourRange,
  sliceEvents = SLICE_EVENTS,
): Promise<Plan> {
  const account = await readRawAccount(tx);
  const hours = await tx<{ hour: Date; events: number }[]>`
    select date_bin('1 hour', "timestamp", timestamptz '1970-01-01 00:00:00+00') as hour, count(*) as events
    from raw_events where "timestamp" >= ${from}::text::timestamptz and "timestamp" < ${to}::text::timestamptz
    group by 1 order by 1`;
  const slices: Slice[] = [];
  let begin = from;
  let events = 0;
  for (const { hour, events: ofHour } of hours) {
    if (events > 0 && events + ofHour > sliceEvents) {
      slices.push({ from: begin, to: hour.toISOString(), events });
      begin = hour.toISOString();
      events = 0;
    }
    events += ofHour;
  }
  slices.push({ from: begin, to, events });
  return { account, slices };
}
