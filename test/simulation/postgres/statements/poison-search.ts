// Executes the search for the events that the raw insert refuses.

import { ServerError } from "../server-error.ts";
import { NOTHING, type Statement } from "../statement.ts";
import { castToJsonb, rawEventRows } from "./raw-events.ts";

const NAMES = [
  "event_id",
  "user_id",
  "event_type",
  "event_data",
  "duration_seconds",
  "timestamp",
  "processed_at",
  "search_ms",
] as const;

export const setEventsStatement: Statement = {
  name: "set events to search",
  text: `
  select set_config('pipeline.event_id', $1::text, true), set_config('pipeline.user_id', $2::text, true),
    set_config('pipeline.event_type', $3::text, true), set_config('pipeline.event_data', $4::text, true),
    set_config('pipeline.duration_seconds', $5::text, true), set_config('pipeline.timestamp', $6::text, true),
    set_config('pipeline.processed_at', $7::text, true), set_config('pipeline.search_ms', $8::text, true)`,
  table: undefined,
  writes: false,
  run({ transaction }, parameters) {
    for (const [index, name] of NAMES.entries()) transaction.settings.set(name, parameters[index] as string);
    return NOTHING;
  },
};

/** The time limit of the search is not modelled. */
export const searchStatement: Statement = {
  name: "search refused events",
  text: `
  do $search$
  declare
    event record;
    tried int := 0;
    places int[] := '{}';
    codes text[] := '{}';
    messages text[] := '{}';
    ends_at timestamptz := clock_timestamp() + current_setting('pipeline.search_ms')::int * interval '1 ms';
  begin
    for event in
      select * from unnest(current_setting('pipeline.event_id')::text[], current_setting('pipeline.user_id')::text[],
          current_setting('pipeline.event_type')::text[], string_to_array(current_setting('pipeline.event_data'), E'\\x1e'),
          current_setting('pipeline.duration_seconds')::float8[], current_setting('pipeline.timestamp')::timestamptz[])
        as e (event_id, user_id, event_type, event_data, duration_seconds, "timestamp")
    loop
      exit when clock_timestamp() >= ends_at;
      tried := tried + 1;
      begin
        insert into raw_events (event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at)
        values (event.event_id, event.user_id, event.event_type, event.event_data::jsonb, event.duration_seconds,
          event."timestamp", current_setting('pipeline.processed_at')::timestamptz)
        on conflict (event_id) do nothing;
      exception when data_exception or program_limit_exceeded then
        places := places || tried;
        codes := codes || sqlstate;
        messages := messages || sqlerrm;
      end;
    end loop;
    perform set_config('pipeline.refused',
      json_build_object('tried', tried, 'places', places, 'codes', codes, 'messages', messages)::text, true);
  end $search$`,
  table: "raw_events",
  writes: true,
  async run({ transaction, tables }) {
    const rows = rawEventRows(NAMES.map((name) => transaction.settings.get(name)));
    const refused: { place: number; code: string; message: string }[] = [];
    for (const [index, row] of rows.entries()) {
      try {
        castToJsonb(row);
        await transaction.insert(tables.rawEvents, row.eventId, row);
      } catch (error) {
        if (!(error instanceof ServerError) || error.code !== "22003") throw error;
        refused.push({ place: index + 1, code: error.code, message: error.message });
      }
    }
    const columns = {
      tried: rows.length,
      places: refused.map(({ place }) => place),
      codes: refused.map(({ code }) => code),
      messages: refused.map(({ message }) => message),
    };
    transaction.settings.set("refused", JSON.stringify(columns));
    return NOTHING;
  },
};

export const readRefusedStatement: Statement = {
  name: "read refused events",
  text: `select current_setting('pipeline.refused')::json as refused`,
  table: undefined,
  writes: false,
  run({ transaction }) {
    return { rows: [{ refused: JSON.parse(transaction.settings.get("refused")!) as unknown }], count: 1 };
  },
};
