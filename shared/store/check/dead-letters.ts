// Proves that every dead letter would be rejected again, for the same reason, and became the event that it names.

import type { RejectionReason } from "../../event.ts";
import { enrich } from "../../pipeline/enrich.ts";
import { EventReader } from "../../pipeline/event-reader.ts";
import { isRejection } from "../../pipeline/rejection.ts";
import { readPipelineState } from "../pipeline-state.ts";
import type { Database, Transaction } from "../session.ts";
import { classify } from "../sqlstate.ts";
import type { LetterState } from "../dead-letters/selection.ts";
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
  /** The length of a value of which only the beginning is kept. */
  value_bytes: number | null;
  state: LetterState;
  /** Of a replayed letter: whether its value was mended, and the id of the event that it became. */
  is_mended: boolean;
  /** Null for a large one, which is read separately. */
  mended_value: Buffer | null;
  event_id: string | null;
  first_seen_ms: number;
  max_future_skew_seconds: number;
}

type LetterKey = Pick<LetterRow, "topic" | "topic_id" | "partition" | "reading" | "offset">;

const BEFORE_ALL: LetterKey = { topic: "", topic_id: "", partition: -1, reading: -1, offset: -1 };

/**
 * Validates every dead letter again, with the clock and the limit of the first time, and what was stored of the replayed
 * ones. The bytes of a letter never change and are judged alone, so each page is read in its own short transaction.
 */
export async function checkDeadLetters(sql: Database): Promise<Invariant> {
  let letters = 0;
  let wrong = 0;
  const samples: string[] = [];
  let last = BEFORE_ALL;
  const reader = new EventReader();
  for (;;) {
    const rows = await sql.begin("isolation level repeatable read read only", async (tx) => {
      const { cutoffMs } = await readPipelineState(tx);
      const page = await readPage(tx, last);
      for (const row of page) {
        const problem = await contradictionOf(tx, reader, row, cutoffMs);
        if (problem === undefined) continue;
        wrong++;
        if (samples.length < MAX_SAMPLES)
          samples.push(`${row.topic}[${row.partition}]@${row.offset}: ${problem}`);
      }
      return page;
    });
    letters += rows.length;
    const end = rows.at(-1);
    if (end === undefined) break;
    last = end;
  }
  return makeInvariant("dead_letters_rejected_again", `${count(letters)} dead letters validated again`, {
    count: wrong,
    samples,
  });
}

/** The next letters behind `after`, in the order of their key. */
async function readPage(tx: Transaction, after: LetterKey): Promise<LetterRow[]> {
  return await tx<LetterRow[]>`
    select topic, topic_id, partition, reading, "offset", reason, value is null as is_tombstone, value_bytes,
      state, event_id, mended_value is not null as is_mended,
      case when octet_length(mended_value) <= ${MAX_BYTES_AT_ONCE} then mended_value end as mended_value,
      case when octet_length(value) <= ${MAX_BYTES_AT_ONCE} then value end as value,
      (extract(epoch from first_seen_at) * 1000)::float8 as first_seen_ms, max_future_skew_seconds
    from dead_letter_events
    where (topic, topic_id, partition, reading, "offset")
      > (${after.topic}, ${after.topic_id}, ${after.partition}, ${after.reading}, ${after.offset})
    order by topic, topic_id, partition, reading, "offset"
    limit ${LETTERS_AT_ONCE}`;
}

/** What contradicts a letter's reason; undefined where its bytes confirm it. */
async function contradictionOf(
  tx: Transaction,
  reader: EventReader,
  row: LetterRow,
  cutoffMs = -Infinity,
): Promise<string | undefined> {
  const value = row.is_tombstone ? undefined : (row.value ?? (await readLarge(tx, row, "value")));
  const isReplayed = row.state === "stored" || row.state === "duplicate";
  if (isReplayed) {
    const mended = row.is_mended ? (row.mended_value ?? (await readLarge(tx, row, "mended_value"))) : value;
    const replayed = reader.readValue(mended, 0, Infinity);
    const found = isRejection(replayed) ? `no event (${replayed.reason})` : `event ${replayed.eventId}`;
    if (found !== `event ${row.event_id}`) return `replayed as event ${row.event_id}, and is ${found}`;
  }
  const event = reader.readValue(
    value,
    row.first_seen_ms,
    row.max_future_skew_seconds * 1000,
    row.value_bytes ?? undefined,
  );
  if (isRejection(event)) {
    return event.reason === row.reason ? undefined : `reason ${row.reason}, now ${event.reason}`;
  }
  // The cut-off that it was judged by has only risen since.
  if (row.reason === "expired" && event.timestampMs < cutoffMs) return undefined;
  if (row.reason !== "refused_by_database") return `reason ${row.reason}, but it is a valid event`;
  // PostgreSQL may accept it by now: then an open letter can be replayed, and a settled one is history.
  if (row.state !== "open") return undefined;
  const { eventId, userId, eventType, eventDataText } = enrich(event);
  const isRefused = await refuses(tx, [eventId, userId, eventType, eventDataText]);
  return isRefused ? undefined : `reason ${row.reason}, but PostgreSQL accepts it`;
}

async function readLarge(tx: Transaction, row: LetterRow, column: "value" | "mended_value"): Promise<Buffer> {
  const [found] = await tx<[{ bytes: Buffer }]>`
    select ${tx(column)} as bytes from dead_letter_events
    where topic = ${row.topic} and topic_id = ${row.topic_id} and partition = ${row.partition}
      and reading = ${row.reading} and "offset" = ${row.offset}`;
  return found.bytes;
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
