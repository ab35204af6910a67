// Reads selected dead letters with their bytes, page by page in the order of their keys.

import type { RejectionReason } from "../../event.ts";
import type { Transaction } from "../session.ts";
import { type LetterKey, type LetterSelection, type LetterState, selectionCondition } from "./selection.ts";

/** The most bytes of the values and keys of one page, or one letter. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;

const BEFORE_ALL: LetterKey = { topic: "", topicId: "", partition: -1, reading: -1, offset: -1 };

/** A row of dead_letter_events. */
export interface Letter extends LetterKey {
  readonly key: Buffer | null;
  /** Null for a tombstone. */
  readonly value: Buffer | null;
  /** UTF-8 JSON, see encodeHeaders. */
  readonly headers: Buffer | null;
  /** The true lengths of what is not kept whole; null where all of it is. */
  readonly keyBytes: number | null;
  readonly valueBytes: number | null;
  readonly headersBytes: number | null;
  /** Hexadecimal, of a value that is not kept whole. */
  readonly valueSha256: string | null;
  readonly stage: string;
  readonly reason: RejectionReason;
  readonly error: string;
  readonly firstSeenAt: Date;
  readonly state: LetterState;
  /** How many replays have judged it. */
  readonly attempts: number;
  /** When it was last judged, or discarded. */
  readonly changedAt: Date | null;
  /** Why the last replay has rejected it. */
  readonly attemptError: string | null;
  /** The event that it became. */
  readonly eventId: string | null;
  /** What was stored, where it was mended. */
  readonly mendedValue: Buffer | null;
  readonly discardReason: string | null;
}

/**
 * The next letters of a selection, in the order of their keys.
 * @param after the last letter of the page before
 * @returns empty at the end
 */
export async function readLetterPage(
  tx: Transaction,
  selection: LetterSelection,
  after: LetterKey = BEFORE_ALL,
  limit = 1000,
): Promise<Letter[]> {
  // A plan that sorts would read the whole selection again for each page.
  if (selection.keys === undefined) await tx`set local enable_sort = off`;
  return await tx<Letter[]>`
    with page as (
      select topic, topic_id, partition, reading, "offset",
        coalesce(octet_length(value), 0) + coalesce(octet_length(key), 0) as bytes
      from dead_letter_events d
      where (topic, topic_id, partition, reading, "offset")
          > (${after.topic}, ${after.topicId}, ${after.partition}, ${after.reading}, ${after.offset})
        and ${selectionCondition(tx, selection)}
      order by topic, topic_id, partition, reading, "offset"
      limit ${limit}
    ), sized as (
      select *, sum(bytes) over (order by topic, topic_id, partition, reading, "offset") - bytes as bytes_before from page
    )
    select topic, topic_id as "topicId", partition, reading, "offset", key, value, headers, key_bytes as "keyBytes",
      value_bytes as "valueBytes", headers_bytes as "headersBytes", encode(value_sha256, 'hex') as "valueSha256", stage,
      reason, error, first_seen_at as "firstSeenAt", state, attempts, changed_at as "changedAt",
      attempt_error as "attemptError", event_id as "eventId", mended_value as "mendedValue",
      discard_reason as "discardReason"
    from sized join dead_letter_events using (topic, topic_id, partition, reading, "offset")
    where bytes_before < ${MAX_PAGE_BYTES}
    order by topic, topic_id, partition, reading, "offset"`;
}

/** A position as a person writes it: the reading and the topic's id are only needed where several letters have it. */
export type LetterPosition = Pick<LetterKey, "topic" | "partition" | "offset"> & {
  readonly reading?: number | undefined;
  readonly topicId?: string | undefined;
};

/** The letters at a position: more than one where a topic was created again, or read again. */
export async function findLetterKeys(tx: Transaction, position: LetterPosition): Promise<LetterKey[]> {
  const { topic, partition, offset, reading, topicId } = position;
  return await tx<LetterKey[]>`
    select topic, topic_id as "topicId", partition, reading, "offset" from dead_letter_events
    where topic = ${topic} and partition = ${partition} and "offset" = ${offset}
      ${topicId === undefined ? tx`` : tx`and topic_id = ${topicId}`}
      ${reading === undefined ? tx`` : tx`and reading = ${reading}`}
    order by topic_id, reading`;
}
