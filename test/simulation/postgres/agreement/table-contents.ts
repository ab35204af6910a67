// Reads the tables of a real PostgreSQL and of the model into rows that can be compared.

import { parseTimestamp } from "../../../../shared/pipeline/timestamp.ts";
import type { TestDatabase } from "../../../support/postgres.ts";
import type { RawEventRow, Tables } from "../tables.ts";

/** Rows by table, each table in the order of its rows' texts. */
export type TableContents = Readonly<Record<string, readonly string[]>>;

function contents(tables: Readonly<Record<string, readonly unknown[]>>): TableContents {
  return Object.fromEntries(
    Object.entries(tables).map(([name, rows]) => [name, rows.map((row) => JSON.stringify(row)).toSorted()]),
  );
}

function micros(text: string): string {
  const { ms, micros: rest } = parseTimestamp(text)!;
  return String(BigInt(ms) * 1000n + BigInt(rest));
}

function hex(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : Buffer.from(bytes).toString("hex");
}

export function modelContents({
  offsets,
  rawEvents,
  hours,
  hourUsers,
  deadLetters,
  sealedHours,
  state,
}: Tables): TableContents {
  return contents({
    offsets: offsets
      .rows()
      .map((row) => [
        row.topic,
        row.topicId,
        row.partition,
        row.reading,
        row.firstOffset,
        row.nextOffset,
        row.leaderEpoch ?? null,
        row.consumed,
        row.deleted,
        row.gaps,
        row.stored,
        row.duplicates,
        row.deadLettered,
        row.closedAtMs !== undefined,
      ]),
    rawEvents: rawEvents
      .rows()
      .map((row: RawEventRow) => [
        row.eventId,
        row.userId,
        row.eventType,
        JSON.parse(row.eventDataText),
        row.durationSeconds ?? null,
        micros(row.timestamp),
        micros(row.processedAt),
      ]),
    hours: hours
      .rows()
      .map((row) => [
        row.hour,
        row.eventType,
        row.totalEvents,
        row.uniqueUsers,
        String(row.totalDurationMs),
        row.durationCount,
        row.unsavedEvents,
        row.lateEvents,
        row.closedAtMs !== undefined,
      ]),
    sealedHours: sealedHours
      .rows()
      .map((row) => [
        row.hour,
        row.eventType,
        row.totalEvents,
        row.uniqueUsers,
        String(row.totalDurationMs),
        row.durationCount,
        row.unsavedEvents,
        row.lateEvents,
      ]),
    state: state.rows().map(({ usersEpoch, cutoffMs }) => [usersEpoch, cutoffMs ?? null]),
    users: hourUsers.rows().map((row) => [row.hour, row.eventType, row.userId]),
    deadLetters: deadLetters
      .rows()
      .map((row) => [
        row.topic,
        row.topicId,
        row.partition,
        row.reading,
        row.offset,
        hex(row.key),
        hex(row.value),
        hex(row.headers),
        row.keyBytes,
        row.valueBytes,
        hex(row.valueSha256),
        row.headersBytes,
        row.stage,
        row.reason,
        row.error,
        micros(row.firstSeenAt),
        row.maxFutureSkewSeconds,
      ]),
  });
}

export async function realContents({ sql }: Pick<TestDatabase, "sql">): Promise<TableContents> {
  const read = async (statement: string): Promise<unknown[]> =>
    (await sql.unsafe<{ row: unknown }[]>(statement)).map(({ row }) => row);
  const [offsets, rawEvents, hours, users, deadLetters, sealedHours, state] = await Promise.all([
    read(`select json_build_array(topic, topic_id, partition, reading, first_offset, next_offset, leader_epoch,
      consumed, deleted, gaps, stored, duplicates, dead_lettered, closed_at is not null) as row from pipeline_offsets`),
    read(`select json_build_array(event_id, user_id, event_type, event_data, duration_seconds,
      (extract(epoch from "timestamp") * 1000000)::bigint::text,
      (extract(epoch from processed_at) * 1000000)::bigint::text) as row from raw_events`),
    read(`select json_build_array((extract(epoch from aggregation_hour) / 3600)::int, event_type, total_events,
      unique_users, total_duration_ms::text, duration_count, unsaved_events, late_events, closed_at is not null) as row
      from hourly_aggregations`),
    read(`select json_build_array((extract(epoch from aggregation_hour) / 3600)::int, event_type, user_id) as row
      from hourly_users`),
    read(`select json_build_array(topic, topic_id, partition, reading, "offset", encode(key, 'hex'),
      encode(value, 'hex'), encode(headers, 'hex'), key_bytes, value_bytes, encode(value_sha256, 'hex'), headers_bytes, stage, reason, error,
      (extract(epoch from first_seen_at) * 1000000)::bigint::text, max_future_skew_seconds) as row
      from dead_letter_events`),
    read(`select json_build_array((extract(epoch from aggregation_hour) / 3600)::int, event_type, total_events,
      unique_users, total_duration_ms::text, duration_count, unsaved_events, late_events) as row from sealed_hours`),
    read(`select json_build_array(users_epoch, (extract(epoch from retention_cutoff) * 1000)::bigint) as row
      from pipeline_state`),
  ]);
  return contents({ offsets, rawEvents, hours, users, deadLetters, sealedHours, state });
}
