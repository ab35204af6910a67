// Finds the events of a batch that PostgreSQL refuses, each with the server's reason.

import type { StoredEvent } from "../event.ts";
import type { BatchEvent } from "../pipeline/batch.ts";
import type { StoreSession, Transaction } from "./session.ts";
import { eventColumns, insertByUnnest, pagesOf } from "./raw-events.ts";
import { classify, DeadlineExceeded, describeFault, SchemaFault } from "./sqlstate.ts";

const DEADLINE_MS = 30_000;
/** Half of the deadline is for the search, the rest for sending the events and the answer. */
const SEARCH_MS = DEADLINE_MS / 2;

// A block takes no parameters and returns nothing, so both are settings of the transaction.
const SET_EVENTS = `
  select set_config('pipeline.event_id', $1::text, true), set_config('pipeline.user_id', $2::text, true),
    set_config('pipeline.event_type', $3::text, true), set_config('pipeline.event_data', $4::text, true),
    set_config('pipeline.duration_seconds', $5::text, true), set_config('pipeline.timestamp', $6::text, true),
    set_config('pipeline.processed_at', $7::text, true), set_config('pipeline.search_ms', $8::text, true)`;

// Each event is inserted alone, in a subtransaction: whatever refuses it (the type of a column, a generated column, an
// index on an expression, a trigger), one statement finds all, over any link, on any version of PostgreSQL. Categories
// of errors stand for all of their class.
const SEARCH = `
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
  end $search$`;

const READ_REFUSED = `select current_setting('pipeline.refused')::json as refused`;

/** What the block leaves: how many events it has tried, and of the refused ones the place (from 1) and the error. */
interface Refused {
  readonly tried: number;
  readonly places: readonly number[];
  readonly codes: readonly string[];
  readonly messages: readonly string[];
}

/** Thrown inside a transaction to roll it back. */
class RollbackProbe extends Error {
  override readonly name = "RollbackProbe";
}

/**
 * Finds the events whose content the raw insert refuses. Everything it does is rolled back. An event counts as refused
 * only if another event passes the same statement: a probe event as wide as events may be is tried first, and if
 * PostgreSQL refuses the probe, the fault lies in the schema.
 *
 * When half of its deadline is over it ends with what it has found by then.
 *
 * @returns the refused events with the server's reason; empty where no single event is refused
 * @throws SchemaFault where the probe is refused; DeadlineExceeded where it found none in time; the server's error
 *   where it is not about content
 */
export async function findPoisonEvents(
  session: Pick<StoreSession, "transaction">,
  events: readonly BatchEvent[],
  processedAtMs: number,
  searchMs = SEARCH_MS,
): Promise<Map<BatchEvent, string>> {
  const refused = new Map<BatchEvent, string>();
  const endsAtMs = performance.now() + searchMs;
  let isComplete = true;
  await rolledBack(session, async (tx) => {
    await assertProbePasses(tx, makeProbe(events[0]!, processedAtMs), processedAtMs);
    for (const page of pagesOf(events)) {
      const leftMs = Math.max(0, Math.floor(endsAtMs - performance.now()));
      const { tried, places, codes, messages } = await search(tx, page, processedAtMs, leftMs);
      for (const [index, place] of places.entries()) {
        const error = Object.assign(new Error(messages[index]), { code: codes[index]! });
        if (classify(error) !== "content") throw error;
        refused.set(page[place - 1]!, describeFault(error));
      }
      isComplete = tried === page.length;
      if (!isComplete) break;
    }
  });
  if (!isComplete && refused.size === 0) {
    throw new DeadlineExceeded(
      `no event that PostgreSQL refuses was found among ${events.length} within ${searchMs / 1000} s`,
    );
  }
  return refused;
}

async function search(
  tx: Transaction,
  events: readonly BatchEvent[],
  processedAtMs: number,
  searchMs: number,
): Promise<Refused> {
  await tx.unsafe(SET_EVENTS, [...eventColumns(events, processedAtMs, false), String(searchMs)]);
  await tx.unsafe(SEARCH);
  const [row] = await tx.unsafe<[{ refused: Refused }]>(READ_REFUSED);
  return row.refused;
}

/** @throws SchemaFault, or the server's error where it is not about content */
async function assertProbePasses(tx: Transaction, probe: BatchEvent, processedAtMs: number): Promise<void> {
  try {
    await tx.savepoint(async (savepoint) => {
      await insertByUnnest(savepoint, [probe], processedAtMs, false);
      throw new RollbackProbe("done");
    });
  } catch (error) {
    if (error instanceof RollbackProbe) return;
    if (classify(error) !== "content") throw error;
    throw new SchemaFault(`raw_events refuses an event that is valid: ${describeFault(error)}`, {
      cause: error,
    });
  }
}

async function rolledBack(
  session: Pick<StoreSession, "transaction">,
  body: (tx: Transaction) => Promise<void>,
): Promise<void> {
  try {
    await session.transaction(DEADLINE_MS, async (tx) => {
      await body(tx);
      throw new RollbackProbe("done");
    });
  } catch (error) {
    if (!(error instanceof RollbackProbe)) throw error;
  }
}

/** Four bytes in UTF-8: a narrowed column, or one of another encoding, refuses the probe. */
const WIDE = "\u{1f600}";

/** An event with a unique id, and with every field as long as `validate` allows. */
function makeProbe(like: BatchEvent, processedAtMs: number): BatchEvent {
  const uniqueId = `probe_${crypto.randomUUID()}`;
  const event: StoredEvent = {
    eventId: uniqueId + WIDE.repeat(100 - uniqueId.length),
    userId: WIDE.repeat(100),
    eventType: WIDE.repeat(50),
    timestampMs: processedAtMs,
    timestampMicros: 0,
    eventDataText: `{"probe":"${WIDE}"}`,
    durationMs: 1e12,
  };
  return { ...like, event };
}
