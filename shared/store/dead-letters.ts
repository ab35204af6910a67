// Inserts dead letters into dead_letter_events.
// Key, value and headers go in as bytes, so that PostgreSQL cannot refuse their content.

import type { DeadLetter } from "../event.ts";
import type { BatchClock } from "../pipeline/batch.ts";
import { formatTimestamp } from "../pipeline/timestamp.ts";
import type { Transaction } from "./session.ts";
import { bytesArray, numberArray, textArray } from "./array-literal.ts";

const INSERT = `
  insert into dead_letter_events
    (topic, topic_id, partition, reading, "offset", key, value, headers, stage, reason, error, first_seen_at, max_future_skew_seconds)
  select d.*, $12::timestamptz, $13::float8
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[],
      $9::text[], $10::text[], $11::text[])
    as d`;

/** Stores the dead letters of a batch. The fence keeps a letter from being stored twice. */
export async function insertDeadLetters(
  tx: Transaction,
  letters: readonly DeadLetter[],
  { processedAtMs, maxFutureSkewMs }: BatchClock,
): Promise<void> {
  if (letters.length === 0) return;
  await tx.unsafe(
    INSERT,
    [
      textArray(letters.map(({ topic }) => topic)),
      textArray(letters.map(({ topicId }) => topicId)),
      numberArray(letters.map(({ partition }) => partition)),
      numberArray(letters.map(({ reading }) => reading)),
      numberArray(letters.map(({ offset }) => offset)),
      bytesArray(letters.map(({ key }) => key)),
      bytesArray(letters.map(({ value }) => value)),
      bytesArray(letters.map(({ headers }) => headers)),
      textArray(letters.map(({ rejection }) => rejection.stage)),
      textArray(letters.map(({ rejection }) => rejection.reason)),
      textArray(letters.map(({ rejection }) => rejection.error)),
      formatTimestamp(processedAtMs, 0),
      maxFutureSkewMs / 1000,
    ],
    { prepare: true },
  );
}
