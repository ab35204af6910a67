// A short read-only transaction in; what the console shows of the tables out. Every query walks a primary key.

import type { Transaction } from "./session.ts";

export interface PartitionAccount {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly consumed: number;
  readonly skipped: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLettered: number;
  readonly updatedAtMs: number;
}

/** One event type of one hour; `rank` counts from 1 by events. What is beyond the last rank stands under it together. */
export interface HourTypeRow {
  readonly startMs: number;
  readonly isClosed: boolean;
  /** Null: several types, counted in `types`. */
  readonly eventType: string | null;
  readonly types: number;
  readonly events: number;
  readonly uniqueUsers: number;
  readonly averageSeconds: number | null;
  readonly lateEvents: number;
}

export interface DeadLetterRow {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  readonly offset: number;
  readonly stage: string;
  readonly reason: string;
  readonly error: string;
  readonly firstSeenAtMs: number;
  /** The beginning of the value; null for a tombstone. */
  readonly value: Uint8Array | null;
  readonly valueBytes: number | null;
}

export interface WholeDeadLetterRow extends DeadLetterRow {
  readonly key: Uint8Array | null;
  readonly keyBytes: number | null;
  readonly headers: Uint8Array | null;
  readonly headersBytes: number | null;
}

const MOST_PARTITIONS = 1000;
const NEWEST_HOURS = 24;
/** Event types that are told apart in an hour: it is an open set, and a hostile one may be large. */
const TYPES_OF_AN_HOUR = 10;
const NEWEST_DEAD_LETTERS = 20;
const PREVIEW_BYTES = 240;
const SHOWN_BYTES = 8192;

export async function readAccounts(tx: Transaction): Promise<PartitionAccount[]> {
  const rows = await tx<PartitionAccount[]>`
    select topic, topic_id as "topicId", partition, first_offset as "firstOffset", next_offset as "nextOffset",
      consumed, skipped, stored, duplicates, dead_lettered as "deadLettered",
      extract(epoch from updated_at)::float8 * 1000 as "updatedAtMs"
    from pipeline_offsets
    order by topic, topic_id, partition
    limit ${MOST_PARTITIONS}`;
  return [...rows];
}

/** The newest hours that have events, oldest first, in each the most frequent types first. */
export async function readHours(tx: Transaction): Promise<HourTypeRow[]> {
  const rows = await tx<HourTypeRow[]>`
    with recursive hours (hour, n) as (
      (select aggregation_hour, 1 from hourly_aggregations order by aggregation_hour desc limit 1)
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
  return [...rows];
}

/** The newest of each partition by its key, of those the newest of all; a large value is not read beyond its beginning. */
export async function readNewestDeadLetters(tx: Transaction): Promise<DeadLetterRow[]> {
  const rows = await tx<DeadLetterRow[]>`
    with newest as (
      select n.* from pipeline_offsets o cross join lateral (
        select topic, topic_id, partition, "offset", first_seen_at from dead_letter_events d
        where d.topic = o.topic and d.topic_id = o.topic_id and d.partition = o.partition
        order by d."offset" desc limit ${NEWEST_DEAD_LETTERS}
      ) n
      where o.dead_lettered > 0
      order by n.first_seen_at desc, n.topic, n.partition, n."offset" desc
      limit ${NEWEST_DEAD_LETTERS}
    )
    select d.topic, d.topic_id as "topicId", d.partition, d."offset", d.stage, d.reason, left(d.error, 500) as error,
      extract(epoch from d.first_seen_at)::float8 * 1000 as "firstSeenAtMs",
      substring(d.value from 1 for ${PREVIEW_BYTES}) as value, octet_length(d.value) as "valueBytes"
    from newest join dead_letter_events d using (topic, topic_id, partition, "offset")
    order by d.first_seen_at desc, d.topic, d.partition, d."offset" desc`;
  return [...rows];
}

/** One dead letter with the first 8 KiB of what it holds. */
export async function readDeadLetter(
  tx: Transaction,
  { topic, topicId, partition, offset }: Pick<DeadLetterRow, "topic" | "topicId" | "partition" | "offset">,
): Promise<WholeDeadLetterRow | undefined> {
  const [row] = await tx<WholeDeadLetterRow[]>`
    select topic, topic_id as "topicId", partition, "offset", stage, reason, left(error, 500) as error,
      extract(epoch from first_seen_at)::float8 * 1000 as "firstSeenAtMs",
      substring(value from 1 for ${SHOWN_BYTES}) as value, octet_length(value) as "valueBytes",
      substring(key from 1 for ${SHOWN_BYTES}) as key, octet_length(key) as "keyBytes",
      substring(headers from 1 for ${SHOWN_BYTES}) as headers, octet_length(headers) as "headersBytes"
    from dead_letter_events
    where topic = ${topic} and topic_id = ${topicId} and partition = ${partition} and "offset" = ${offset}`;
  return row;
}
