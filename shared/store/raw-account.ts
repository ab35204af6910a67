// Counts the stored events that have no row in raw_events.

import type { Transaction } from "./session.ts";

/** Counts of one snapshot. */
export interface RawAccount {
  /** Events stored, by the offsets of the partitions. */
  readonly stored: number;
  /** Rows of raw_events that retention has deleted. */
  readonly pruned: number;
  /** Rows of raw_events. */
  readonly rows: number;
  /** Events that the hours count as stored without a raw row. */
  readonly unsaved: number;
}

/** Reads all of raw_events, some millions of rows a second; the caller lifts the time limit. */
export async function readRawAccount(tx: Transaction): Promise<RawAccount> {
  const [account] = await tx<[RawAccount]>`
    select (select coalesce(sum(stored), 0)::bigint from pipeline_offsets) as stored,
      (select coalesce(sum(pruned_events), 0)::bigint from sealed_hours) as pruned,
      (select count(*) from raw_events) as rows,
      (select coalesce(sum(unsaved_events), 0)::bigint from hourly_aggregations) as unsaved`;
  return account;
}

/** Stored events that have no raw row and are not pruned. Those that are pruned cannot be stored again: their hours take no events. */
export function withoutRawRow({ stored, rows, pruned }: RawAccount): number {
  return Math.max(0, stored - rows - pruned);
}
