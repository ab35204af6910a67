// Reads what the console and /api show of the tables, in the shapes of api-schema.ts. Every query walks a primary key.

import type { DeadLetter, DeadLetterKey, DeadLetters, Hours, Ledger } from "../api-schema.ts";
import { previewOf } from "./payload-preview.ts";
import type { Transaction } from "./session.ts";

type Partition = Ledger["partitions"][number];
type Hour = Hours["hours"][number];

type LedgerCounts = Omit<Ledger, "database">;

const MAX_PARTITIONS = 1000;
const NEWEST_HOURS = 24;
/** Event types that an hour lists one by one: the set is open, and a hostile one may be large. */
const TYPES_OF_AN_HOUR = 10;
const NEWEST_DEAD_LETTERS = 20;
const PREVIEW_BYTES = 240;
const SHOWN_BYTES = 8192;

/** The counts of each partition and their totals, from pipeline_offsets. */
export async function readLedger(tx: Transaction): Promise<LedgerCounts> {
  const rows = await tx<Omit<Partition, "balances">[]>`
    select topic, topic_id as "topicId", partition, reading, first_offset as "firstOffset", next_offset as "nextOffset",
      consumed, deleted, gaps, stored, duplicates, dead_lettered as "deadLettered", discarded,
      replayed, extract(epoch from updated_at)::float8 * 1000 as "updatedAtMs"
    from pipeline_offsets
    order by topic, topic_id, partition, reading
    limit ${MAX_PARTITIONS}`;
  const partitions = rows.map((row) => ({ ...row, balances: balances(row) }));
  const sum = (name: keyof Ledger["totals"]): number => rows.reduce((total, row) => total + row[name], 0);
  return {
    balances: partitions.every((partition) => partition.balances),
    totals: {
      consumed: sum("consumed"),
      deleted: sum("deleted"),
      gaps: sum("gaps"),
      stored: sum("stored"),
      duplicates: sum("duplicates"),
      deadLettered: sum("deadLettered"),
      discarded: sum("discarded"),
      replayed: sum("replayed"),
    },
    partitions,
  };
}

/** Every consumed record is stored, a duplicate or a dead letter, and every offset is consumed, deleted or a gap. */
function balances(partition: Omit<Partition, "balances">): boolean {
  const { firstOffset, nextOffset, consumed, deleted, gaps, stored, duplicates, deadLettered } = partition;
  return (
    consumed === stored + duplicates + deadLettered && nextOffset - firstOffset === consumed + deleted + gaps
  );
}

interface HourRow {
  readonly startMs: number;
  readonly isClosed: boolean;
  /** Null: the rarer types together, counted in `types`. */
  readonly eventType: string | null;
  readonly types: number;
  readonly events: number;
  readonly uniqueUsers: number;
  readonly averageSeconds: number | null;
  readonly lateEvents: number;
}

/**
 * The newest hours that have begun and have events, oldest first; in each hour the most frequent types first. An hour
 * of the future shows when it begins: a client whose clock is ahead must not push all others out.
 */
export async function readHours(tx: Transaction): Promise<Hours["hours"]> {
  const rows = await tx<HourRow[]>`
    with recursive hours (hour, n) as (
      (select aggregation_hour, 1 from hourly_aggregations where aggregation_hour <= now()
        order by aggregation_hour desc limit 1)
      union all
      select (select aggregation_hour from hourly_aggregations where aggregation_hour < hours.hour
              order by aggregation_hour desc limit 1), n + 1
      from hours where hour is not null and n < ${NEWEST_HOURS}
    ), ranked as (
      select a.*, least(row_number() over (partition by a.aggregation_hour order by a.total_events desc, a.event_type),
        ${TYPES_OF_AN_HOUR + 1}) as rank
      from hours join hourly_aggregations a on a.aggregation_hour = hours.hour
    )
    select extract(epoch from aggregation_hour)::float8 * 1000 as "startMs", bool_and(closed_at is not null) as "isClosed",
      case when rank <= ${TYPES_OF_AN_HOUR} then min(event_type) end as "eventType", count(*)::int as types,
      sum(total_events)::bigint as events, sum(unique_users)::bigint as "uniqueUsers",
      min(avg_duration_seconds)::float8 as "averageSeconds", sum(late_events)::bigint as "lateEvents"
    from ranked
    group by aggregation_hour, rank
    order by aggregation_hour, rank`;
  return [...Map.groupBy(rows, ({ startMs }) => startMs).values()].map(hourOf);
}

/** @param rows of one hour */
function hourOf(rows: readonly HourRow[]): Hour {
  const others = rows.find(({ eventType }) => eventType === null);
  return {
    startMs: rows[0]!.startMs,
    isClosed: rows.every(({ isClosed }) => isClosed),
    types: rows.flatMap(({ eventType, events, uniqueUsers, averageSeconds, lateEvents }) =>
      eventType === null ? [] : [{ eventType, events, uniqueUsers, averageSeconds, lateEvents }],
    ),
    others: others === undefined ? null : { types: others.types, events: others.events },
  };
}

type Payload = "value" | "key" | "headers" | "mendedValue";
/** A dead letter as it is read: of each payload the first bytes and the full size. */
type DeadLetterRow<Payloads extends Payload> = Omit<DeadLetter, Payload> &
  Record<Payloads, Uint8Array | null> &
  Record<`${Payloads}Bytes` | `${Payloads}Kept`, number | null>;

/** The newest of all partitions, found by the key of each; of a large value only the first bytes are read. */
export async function readNewestDeadLetters(tx: Transaction): Promise<DeadLetters["newest"]> {
  const rows = await tx<DeadLetterRow<"value">[]>`
    with newest as (
      select n.* from pipeline_offsets o cross join lateral (
        select topic, topic_id, partition, reading, "offset", first_seen_at from dead_letter_events d
        where d.topic = o.topic and d.topic_id = o.topic_id and d.partition = o.partition and d.reading = o.reading
        order by d."offset" desc limit ${NEWEST_DEAD_LETTERS}
      ) n
      where o.dead_lettered + o.replayed > 0
      order by n.first_seen_at desc, n.topic, n.partition, n."offset" desc
      limit ${NEWEST_DEAD_LETTERS}
    )
    select d.topic, d.topic_id as "topicId", d.partition, d.reading, d."offset", d.stage, d.reason, d.state, left(d.error, 500) as error,
      extract(epoch from d.first_seen_at)::float8 * 1000 as "firstSeenAtMs",
      substring(d.value from 1 for ${PREVIEW_BYTES}) as value, coalesce(d.value_bytes, octet_length(d.value)) as "valueBytes", octet_length(d.value) as "valueKept"
    from newest join dead_letter_events d using (topic, topic_id, partition, reading, "offset")
    order by d.first_seen_at desc, d.topic, d.partition, d."offset" desc`;
  return rows.map(({ value, valueBytes, valueKept, ...row }) => ({
    ...row,
    value: previewOf(value, valueBytes, valueKept),
  }));
}

/** One dead letter with the first 8 KiB of its value, key and headers. */
export async function readDeadLetter(
  tx: Transaction,
  { topic, topicId, partition, reading, offset }: DeadLetterKey,
): Promise<DeadLetter | undefined> {
  const [found] = await tx<DeadLetterRow<Payload>[]>`
    select topic, topic_id as "topicId", partition, reading, "offset", stage, reason, state, left(error, 500) as error,
      extract(epoch from first_seen_at)::float8 * 1000 as "firstSeenAtMs",
      substring(value from 1 for ${SHOWN_BYTES}) as value, coalesce(value_bytes, octet_length(value)) as "valueBytes",
      octet_length(value) as "valueKept", encode(value_sha256, 'hex') as "valueSha256",
      substring(key from 1 for ${SHOWN_BYTES}) as key, coalesce(key_bytes, octet_length(key)) as "keyBytes",
      octet_length(key) as "keyKept",
      substring(headers from 1 for ${SHOWN_BYTES}) as headers, coalesce(headers_bytes, octet_length(headers)) as "headersBytes",
      octet_length(headers) as "headersKept",
      attempts, extract(epoch from changed_at)::float8 * 1000 as "changedAtMs", left(attempt_error, 500) as "attemptError",
      event_id as "eventId", left(discard_reason, 500) as "discardReason",
      substring(mended_value from 1 for ${SHOWN_BYTES}) as "mendedValue", octet_length(mended_value) as "mendedValueBytes",
      octet_length(mended_value) as "mendedValueKept"
    from dead_letter_events
    where topic = ${topic} and topic_id = ${topicId} and partition = ${partition} and reading = ${reading}
      and "offset" = ${offset}`;
  if (found === undefined) return undefined;
  const {
    value,
    valueBytes,
    valueKept,
    key,
    keyBytes,
    keyKept,
    headers,
    headersBytes,
    headersKept,
    ...others
  } = found;
  const { mendedValue, mendedValueBytes, mendedValueKept, ...row } = others;
  return {
    ...row,
    value: previewOf(value, valueBytes, valueKept),
    key: previewOf(key, keyBytes, keyKept),
    headers: previewOf(headers, headersBytes, headersKept),
    mendedValue: previewOf(mendedValue, mendedValueBytes, mendedValueKept),
  };
}
