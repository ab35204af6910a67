// Events in; rows of raw_events out, and which of the event ids were new.

import type { BatchEvent } from "../pipeline/batch.ts";
import { formatTimestamp } from "../pipeline/timestamp.ts";
import type { Transaction } from "./postgres.ts";
import { numberArray, textArray } from "./sql-array.ts";

// event_data travels as one text, cut at a control character that JSON text cannot hold: an array literal
// would have to be quoted here and unquoted there.
const SEPARATOR = "\x1e";

const INSERT_BY_UNNEST = `
  with inserted as (
    insert into raw_events (event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at)
    select event_id, user_id, event_type, event_data::jsonb, duration_seconds, "timestamp", $7::timestamptz
    from unnest($1::text[], $2::text[], $3::text[], string_to_array($4::text, E'\\x1e'), $5::float8[], $6::timestamptz[])
      as e (event_id, user_id, event_type, event_data, duration_seconds, "timestamp")
    on conflict (event_id) do nothing
    returning event_id
  )
  select case when count(*) < $8::int then coalesce(json_agg(event_id), '[]') end as new_ids from inserted`;

/**
 * The general way to store raw events: any of them may be there already.
 *
 * @param events distinct by event_id
 * @param plain true where no id can hold a quote or a backslash
 * @returns the ids that were new, or undefined where all were
 */
export async function insertByUnnest(
  tx: Transaction,
  events: readonly BatchEvent[],
  processedAtMs: number,
  plain: boolean,
): Promise<ReadonlySet<string> | undefined> {
  if (events.length === 0) return undefined;
  const rows = await tx.unsafe<{ new_ids: string[] | null }[]>(
    INSERT_BY_UNNEST,
    [
      textArray(
        events.map(({ event }) => event.eventId),
        plain,
      ),
      textArray(
        events.map(({ event }) => event.userId),
        plain,
      ),
      textArray(
        events.map(({ event }) => event.eventType),
        plain,
      ),
      events.map(({ event }) => event.eventDataText).join(SEPARATOR),
      numberArray(
        events.map(({ event }) => (event.durationMs === undefined ? undefined : event.durationMs / 1000)),
      ),
      `{${events.map(({ event }) => formatTimestamp(event.timestampMs, event.timestampMicros)).join(",")}}`,
      formatTimestamp(processedAtMs, 0),
      events.length,
    ],
    { prepare: true },
  );
  const newIds = rows[0]?.new_ids;
  return newIds ? new Set(newIds) : undefined;
}
