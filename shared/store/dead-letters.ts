// Inserts dead letters into dead_letter_events.
// Key, value and headers go in as bytes, so that PostgreSQL cannot refuse their content.

import type { DeadLetter } from "../event.ts";
import type { BatchClock } from "../pipeline/batch.ts";
import { formatTimestamp } from "../pipeline/timestamp.ts";
import type { Transaction } from "./session.ts";
import { bytesArray, numberArray, textArray } from "./array-literal.ts";

const INSERT = `
  insert into dead_letter_events
    (topic, topic_id, partition, reading, "offset", key, value, headers, key_bytes, value_bytes, value_sha256, headers_bytes,
      stage, reason, error, first_seen_at, max_future_skew_seconds)
  select d.*, $16::timestamptz, $17::float8
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[],
      $9::bigint[], $10::bigint[], $11::bytea[], $12::bigint[], $13::text[], $14::text[], $15::text[])
    as d`;

/** The most bytes of one statement, or one letter: they are sent as text, which takes several times their size. */
const BYTES_AT_ONCE = 1024 * 1024;

/**
 * Stores the dead letters of a batch. The fence keeps a letter from being stored twice.
 * @param letters read as they are sent, so that few of them are in memory at once
 */
export async function insertDeadLetters(
  tx: Transaction,
  letters: Iterable<DeadLetter>,
  clock: BatchClock,
): Promise<void> {
  for (const page of pagesOfBytes(letters, bytesOf)) await insertPage(tx, page, clock);
}

/** Splits what is sent as bytes into pages for one statement each. */
export function* pagesOfBytes<Item>(
  items: Iterable<Item>,
  sizeOf: (item: Item) => number,
): Generator<Item[]> {
  let page: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (page.length > 0 && bytes + size > BYTES_AT_ONCE) {
      yield page;
      page = [];
      bytes = 0;
    }
    page.push(item);
    bytes += size;
  }
  if (page.length > 0) yield page;
}

async function insertPage(
  tx: Transaction,
  letters: readonly DeadLetter[],
  { processedAtMs, maxFutureSkewMs }: BatchClock,
): Promise<void> {
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
      numberArray(letters.map(({ keyBytes }) => keyBytes)),
      numberArray(letters.map(({ valueBytes }) => valueBytes)),
      bytesArray(letters.map(({ valueSha256 }) => valueSha256)),
      numberArray(letters.map(({ headersBytes }) => headersBytes)),
      textArray(letters.map(({ rejection }) => rejection.stage)),
      textArray(letters.map(({ rejection }) => rejection.reason)),
      textArray(letters.map(({ rejection }) => rejection.error)),
      formatTimestamp(processedAtMs, 0),
      maxFutureSkewMs / 1000,
    ],
    { prepare: true },
  );
}

function bytesOf({ key, value, headers }: DeadLetter): number {
  return (key?.length ?? 0) + (value?.length ?? 0) + (headers?.length ?? 0);
}
