// Executes the two ways to write raw_events: the insert by unnest, and COPY.

import { numberValues, texts, unquoted } from "../array-values.ts";
import { readCopyInput } from "../copy-input.ts";
import { visibleRow } from "../row-table.ts";
import { serverError, uniqueViolation } from "../server-error.ts";
import type { Parameters, Statement } from "../statement.ts";
import type { RawEventRow } from "../tables.ts";

const SEPARATOR = "\x1e";

/** The member that stands for refused content, as the topics of tests write it. */
const REFUSED_MEMBER = '"refused":1';

/** Casts event_data to jsonb. @throws ServerError 22003 */
export function castToJsonb({ eventDataText }: RawEventRow): void {
  if (eventDataText.includes(REFUSED_MEMBER)) throw serverError("22003");
}

/** The rows whose columns are the parameters, as the store sends them. */
export function rawEventRows(parameters: Parameters): RawEventRow[] {
  const columns = parameters as readonly string[];
  const [ids, users, types] = [texts(columns[0]!), texts(columns[1]!), texts(columns[2]!)];
  const data = columns[3]!.split(SEPARATOR);
  const durations = numberValues(columns[4]!);
  const timestamps = unquoted(columns[5]!);
  return ids.map((eventId, index) => ({
    eventId,
    userId: users[index]!,
    eventType: types[index]!,
    eventDataText: data[index]!,
    durationSeconds: durations[index],
    timestamp: timestamps[index]!,
    processedAt: columns[6]!,
  }));
}

export const insertByUnnestStatement: Statement = {
  name: "insert raw events",
  text: `
    with inserted as (
      insert into raw_events (event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at)
      select event_id, user_id, event_type, event_data::jsonb, duration_seconds, "timestamp", $7::timestamptz
      from unnest($1::text[], $2::text[], $3::text[], string_to_array($4::text, E'\\x1e'), $5::float8[], $6::timestamptz[])
        as e (event_id, user_id, event_type, event_data, duration_seconds, "timestamp")
      on conflict (event_id) do nothing
      returning event_id
    )
    select case when count(*) < $8::int then coalesce(json_agg(event_id), '[]') end as new_ids from inserted`,
  table: "raw_events",
  writes: true,
  async run({ transaction, tables }, parameters) {
    const rows = rawEventRows(parameters);
    const inserted: string[] = [];
    for (const row of rows) {
      castToJsonb(row);
      if (await transaction.insert(tables.rawEvents, row.eventId, row)) inserted.push(row.eventId);
    }
    const newIds = inserted.length < Number(parameters[7]) ? inserted : null;
    return { rows: [{ new_ids: newIds }], count: 1 };
  },
};

export const lookUpStatement: Statement = {
  name: "look up raw events",
  text: `
    select coalesce(json_agg(event_id), '[]') as stored_ids from raw_events where event_id = any ($1::text[])`,
  table: "raw_events",
  writes: false,
  run({ transaction, tables }, [ids]) {
    const isStored = (id: string): boolean => {
      const entry = tables.rawEvents.get(id);
      return entry !== undefined && visibleRow(entry, transaction) !== undefined;
    };
    return { rows: [{ stored_ids: texts(ids as string).filter(isStored) }], count: 1 };
  },
};

export const copyStatement: Statement = {
  name: "copy raw events",
  text: `
    copy raw_events (event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at)
    from stdin (format binary)`,
  table: "raw_events",
  writes: true,
  async run({ transaction, tables }, [input]) {
    const rows = readCopyInput(input as Uint8Array);
    // COPY reads up to a thousand rows before it enters them into the index.
    for (const row of rows) castToJsonb(row);
    for (const row of rows) {
      const isNew = await transaction.insert(tables.rawEvents, row.eventId, row);
      if (!isNew) throw uniqueViolation("raw_events_pkey");
    }
    return { rows: [], count: rows.length };
  },
};
