// Proves that every dead letter would be rejected again, for the same reason.

import type { RejectionReason } from "../../event.ts";
import { enrich } from "../../pipeline/enrich.ts";
import { EventReader } from "../../pipeline/event-reader.ts";
import { isRejection } from "../../pipeline/rejection.ts";
import type { Transaction } from "../session.ts";
import { classify } from "../sqlstate.ts";
import { type Invariant, makeInvariant, MAX_SAMPLES } from "./report.ts";
import { count } from "../../text/format.ts";

/** Letters in one fetch, and the largest value that a fetch includes; larger values are read one by one. */
const LETTERS_AT_ONCE = 500;
const MAX_BYTES_AT_ONCE = 64 * 1024;

/** Fails as an insert would, without writing. */
const BUILD_ROW = `
  select jsonb_populate_record(null::raw_events, jsonb_build_object(
    'event_id', $1::text, 'user_id', $2::text, 'event_type', $3::text, 'event_data', $4::text::jsonb)) is null`;

interface LetterRow {
  topic: string;
  topic_id: string;
  partition: number;
  reading: number;
  offset: number;
  reason: RejectionReason;
  is_tombstone: boolean;
  /** Null for a tombstone and for a large value, which is read separately. */
  value: Buffer | null;
  first_seen_ms: number;
  max_future_skew_seconds: number;
}

/** Validates every dead letter again, with the clock and the limit of the first time. */
export async function checkDeadLetters(tx: Transaction): Promise<Invariant> {
  // An SQL cursor, not the driver's: other statements run between two fetches.
  await tx.unsafe(`
    declare dead_letters no scroll cursor for
    select topic, topic_id, partition, reading, "offset", reason, value is null as is_tombstone,
      case when octet_length(value) <= ${MAX_BYTES_AT_ONCE} then value end as value,
      (extract(epoch from first_seen_at) * 1000)::float8 as first_seen_ms, max_future_skew_seconds
    from dead_letter_events`);
  const reader = new EventReader();
  let letters = 0;
  let wrong = 0;
  const samples: string[] = [];
  for (;;) {
    const rows = await tx.unsafe<LetterRow[]>(`fetch ${LETTERS_AT_ONCE} from dead_letters`);
    if (rows.length === 0) break;
    letters += rows.length;
    for (const row of rows) {
      const problem = await contradictionOf(tx, reader, row);
      if (problem === undefined) continue;
      wrong++;
      if (samples.length < MAX_SAMPLES)
        samples.push(`${row.topic}[${row.partition}]@${row.offset}: ${problem}`);
    }
  }
  await tx.unsafe("close dead_letters");
  return makeInvariant("dead_letters_rejected_again", `${count(letters)} dead letters validated again`, {
    count: wrong,
    samples,
  });
}

/** What contradicts a letter's reason; undefined where its bytes confirm it. */
async function contradictionOf(
  tx: Transaction,
  reader: EventReader,
  row: LetterRow,
): Promise<string | undefined> {
  const value = row.is_tombstone ? undefined : (row.value ?? (await readValue(tx, row)));
  const event = reader.readValue(value, row.first_seen_ms, row.max_future_skew_seconds * 1000);
  if (isRejection(event)) {
    return event.reason === row.reason ? undefined : `reason ${row.reason}, now ${event.reason}`;
  }
  if (row.reason !== "refused_by_database") return `reason ${row.reason}, but it is a valid event`;
  const { eventId, userId, eventType, eventDataText } = enrich(event);
  const isRefused = await refuses(tx, [eventId, userId, eventType, eventDataText]);
  return isRefused ? undefined : `reason ${row.reason}, but PostgreSQL accepts it`;
}

async function readValue(tx: Transaction, row: LetterRow): Promise<Buffer> {
  const [found] = await tx<[{ value: Buffer }]>`
    select value from dead_letter_events
    where topic = ${row.topic} and topic_id = ${row.topic_id} and partition = ${row.partition}
      and reading = ${row.reading} and "offset" = ${row.offset}`;
  return found.value;
}

/** True where PostgreSQL refuses the content of an event for the types that the columns have. */
async function refuses(tx: Transaction, texts: readonly [string, string, string, string]): Promise<boolean> {
  try {
    await tx.savepoint(async (savepoint) => {
      await savepoint.unsafe(BUILD_ROW, [...texts], { prepare: true });
    });
    return false;
  } catch (error) {
    if (classify(error) !== "content") throw error;
    return true;
  }
}
