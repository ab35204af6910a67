// Counts dead letters and lists the newest, by dead_letter_events_state_idx: how many letters there are hardly matters.

import type { RejectionReason } from "../../event.ts";
import { REJECTION_REASONS } from "../../pipeline/rejection.ts";
import { textArray } from "../array-literal.ts";
import type { Transaction } from "../session.ts";
import {
  type LetterKey,
  type LetterSelection,
  type LetterState,
  placeCondition,
  selectionCondition,
} from "./selection.ts";

/** The letters of one state, reason and topic. */
export interface LetterCount {
  readonly state: LetterState;
  readonly reason: RejectionReason;
  readonly topic: string;
  readonly letters: number;
  /** first_seen_at of the oldest and of the newest. */
  readonly oldest: Date;
  readonly newest: Date;
}

/** The most numerous first. */
export async function countLetters(tx: Transaction, selection: LetterSelection): Promise<LetterCount[]> {
  return await tx<LetterCount[]>`
    select state, reason, topic, count(*) as letters, min(first_seen_at) as oldest, max(first_seen_at) as newest
    from dead_letter_events d
    where ${selectionCondition(tx, selection)}
    group by state, reason, topic
    order by letters desc, state, reason, topic`;
}

export interface ListedLetter extends LetterKey {
  readonly state: LetterState;
  readonly reason: RejectionReason;
  readonly error: string;
  readonly firstSeenAt: Date;
  readonly attempts: number;
  /** Bytes of the value; null for a tombstone. */
  readonly valueBytes: number | null;
}

/** The newest by first_seen_at, newest first. `keys` of the selection are not looked at. */
export async function newestLetters(
  tx: Transaction,
  { states, reasons = REJECTION_REASONS, ...place }: LetterSelection,
  limit: number,
): Promise<ListedLetter[]> {
  return await tx<ListedLetter[]>`
    select l.topic, l.topic_id as "topicId", l.partition, l.reading, l."offset", l.state, l.reason, l.error,
      l.first_seen_at as "firstSeenAt", l.attempts, coalesce(l.value_bytes, octet_length(l.value)) as "valueBytes"
    from unnest(${textArray(states)}::text[]) as s (state)
      cross join unnest(${textArray(reasons)}::text[]) as r (reason)
      cross join lateral (
        select * from dead_letter_events d
        where d.state = s.state and d.reason = r.reason ${placeCondition(tx, place)}
        order by d.first_seen_at desc
        limit ${limit}
      ) l
    order by l.first_seen_at desc, l.topic, l.partition, l."offset" desc
    limit ${limit}`;
}
