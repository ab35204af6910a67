// Computes the rows that the tables must hold once a topic is consumed, by the simplest means.

import type { TestDatabase } from "../support/postgres.ts";
import type { Content, TopicScenario } from "./arbitrary-topic.ts";

/** A row of raw_events without processed_at. */
export interface RawRow {
  readonly id: string;
  readonly user: string;
  readonly type: string;
  readonly micros: bigint;
  readonly durationMs: number | null;
  readonly data: unknown;
}

/** A row of hourly_aggregations. */
export interface HourRow {
  readonly hour: number;
  readonly type: string;
  readonly events: number;
  readonly users: readonly string[];
  readonly durationMs: bigint;
  readonly durations: number;
}

/** The contents of the tables that do not depend on which worker committed first. */
export interface Tables {
  readonly raw: readonly RawRow[];
  readonly hours: readonly HourRow[];
  readonly deadLetters: readonly unknown[];
  readonly offsets: readonly unknown[];
}

const MICROS_PER_HOUR = 3_600_000_000n;

/** The expected contents: the first event of each id, its hours as a GROUP BY, and the counts of the rest. */
export function fold({ partitions, beginnings }: TopicScenario): Tables {
  const records = partitions.flat();
  const events = new Map(
    records.flatMap(({ event }) => (event === undefined ? [] : [[event.id, event.content]])).toReversed() as [
      string,
      Content,
    ][],
  );
  const raw = [...events].map(([id, content]) => rawRow(id, content));
  return {
    raw: sorted(raw, ({ id }) => id),
    hours: hoursOf(raw),
    deadLetters: records.flatMap(({ partition, offset, key, value, reason }) =>
      reason === undefined ? [] : [{ partition, offset, key: hex(key), value: hex(value), reason }],
    ),
    offsets: partitions.map((log, partition) => {
      const first = beginnings[partition]!;
      const next = (log.at(-1)?.offset ?? first - 1) + 1;
      const rejected = log.filter(({ reason }) => reason !== undefined).length;
      return {
        partition,
        first,
        next,
        consumed: log.length,
        deleted: 0,
        gaps: next - first - log.length,
        rejected,
        kept: log.length - rejected,
      };
    }),
  };
}

export function rawRow(id: string, { userId, eventType, micros, durationMs, data }: Content): RawRow {
  const amount = data["amount"];
  const isPriced = eventType === "purchase" && typeof amount === "number";
  return {
    id,
    user: userId,
    type: eventType,
    micros,
    durationMs: durationMs ?? null,
    data: isPriced ? { ...data, is_high_value: amount > 100 } : data,
  };
}

/** GROUP BY hour and type. */
export function hoursOf(raw: readonly RawRow[]): HourRow[] {
  const groups = Map.groupBy(raw, ({ micros, type }) => `${micros / MICROS_PER_HOUR} ${type}`);
  const rows = [...groups.values()].map((group): HourRow => {
    const durations = group.flatMap(({ durationMs }) => (durationMs === null ? [] : [BigInt(durationMs)]));
    return {
      hour: Number(group[0]!.micros / MICROS_PER_HOUR),
      type: group[0]!.type,
      events: group.length,
      users: [...new Set(group.map(({ user }) => user))].toSorted(),
      durationMs: durations.reduce((sum, ms) => sum + ms, 0n),
      durations: durations.length,
    };
  });
  return sorted(rows, ({ hour, type }) => `${String(hour).padStart(9, "0")} ${type}`);
}

/** Reads the actual contents of the tables. */
export async function readTables({ sql }: TestDatabase): Promise<Tables> {
  const [raw, hours, deadLetters, offsets] = await Promise.all([
    sql<
      { id: string; user: string; type: string; micros: string; duration_ms: string | null; data: unknown }[]
    >`
      select event_id as id, user_id as user, event_type as type, (extract(epoch from "timestamp") * 1000000)::bigint::text as micros,
        (duration_seconds::numeric * 1000)::text as duration_ms, event_data as data
      from raw_events`,
    sql<
      {
        hour: number;
        type: string;
        events: number;
        users: string[];
        unique_users: number;
        ms: string;
        durations: number;
      }[]
    >`
      select (extract(epoch from aggregation_hour) / 3600)::int as hour, event_type as type, total_events::int as events,
        unique_users::int, total_duration_ms::text as ms, duration_count::int as durations,
        (select coalesce(json_agg(user_id), '[]') from hourly_users u
          where u.aggregation_hour = h.aggregation_hour and u.event_type = h.event_type) as users
      from hourly_aggregations h`,
    sql<{ partition: number; offset: string; key: string | null; value: string | null; reason: string }[]>`
      select partition, "offset"::text, encode(key, 'hex') as key, encode(value, 'hex') as value, reason
      from dead_letter_events d order by d.partition, d."offset"`,
    sql`
      select partition, first_offset::float8 as first, next_offset::float8 as next, consumed::int, deleted::int, gaps::int,
        dead_lettered::int as rejected, (stored + duplicates)::int as kept
      from pipeline_offsets order by partition`,
  ]);
  return {
    raw: sorted(
      raw.map(({ duration_ms, micros, ...row }) => ({
        ...row,
        micros: BigInt(micros),
        durationMs: duration_ms === null ? null : Number(duration_ms),
      })),
      ({ id }) => id,
    ),
    hours: sorted(
      hours.map(({ ms, users, unique_users, ...row }) => ({
        ...row,
        // The count must agree with the rows of hourly_users; if not, both are shown.
        users:
          unique_users === users.length ? users.toSorted() : [`${unique_users} counted`, ...users.toSorted()],
        durationMs: BigInt(ms),
      })),
      ({ hour, type }) => `${String(hour).padStart(9, "0")} ${type}`,
    ),
    deadLetters: deadLetters.map((row) => ({ ...row, offset: Number(row.offset) })),
    offsets: offsets.map((row) => ({ ...row })),
  };
}

function hex(bytes: string | Uint8Array | undefined): string | null {
  return bytes === undefined ? null : Buffer.from(bytes as Uint8Array).toString("hex");
}

function sorted<T>(rows: readonly T[], key: (row: T) => string): T[] {
  return rows.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}
