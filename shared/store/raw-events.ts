// Inserts events into raw_events and returns which event ids were new.

import type { StoredEvent } from "../event.ts";
import type { Batch, BatchEvent } from "../pipeline/batch.ts";
import { formatTimestamp } from "../pipeline/timestamp.ts";
import type { SessionTransaction, Transaction } from "./session.ts";
import { classify } from "./sqlstate.ts";
import { numberArray, textArray } from "./array-literal.ts";

/** The most event_data of one INSERT, UTF-16 units, or one event: the driver takes several times their size. */
const UNITS_AT_ONCE = 4 * 1024 * 1024;

/** After a failed COPY ids are looked up until this many batches in a row held no stored event. */
const CLEAN_BATCHES = 5;

// The columns in the order of EventRows.
const COPY = `
  copy raw_events (event_id, user_id, event_type, event_data, duration_seconds, "timestamp", processed_at)
  from stdin (format binary)`;

// event_data is sent as one text and split at a control character that JSON text cannot contain: an array literal
// would have to be quoted here and unquoted by the server.
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

const LOOK_UP = `
  select coalesce(json_agg(event_id), '[]') as stored_ids from raw_events where event_id = any ($1::text[])`;

/** By which statements raw events are inserted, the fastest first. Each takes more than the one before. */
export type InsertWay = "copy" | "look up and copy" | "insert";

/**
 * Stores the raw events of one session's batches by COPY, which takes no id that is stored already. A committed record
 * is never committed again, so only a producer that repeats an event makes it fail. Then, for some batches, the ids are
 * looked up first, and COPY gets the others; what it refuses even then is inserted by unnest.
 */
export class RawEvents {
  readonly #isCopyAllowed: boolean;
  #way: InsertWay = "copy";
  #cleanBatches = 0;

  /** @param isCopyAllowed false: always by unnest */
  constructor(isCopyAllowed: boolean) {
    this.#isCopyAllowed = isCopyAllowed;
  }

  /**
   * @param rows of the events to insert, distinct by event_id
   * @returns the rows of those that were new
   * @throws CopyFailed where the transaction has to be repeated; the next call takes a way that accepts more
   */
  async insert(tx: SessionTransaction, batch: Batch, rows: Int32Array): Promise<Int32Array> {
    const way = this.#isCopyAllowed ? this.#way : "insert";
    // Before the outcome is known: if anything ends this transaction, the next one goes another way.
    this.#way = way === "copy" ? "look up and copy" : "insert";
    const stored = await insertBy(way, tx, batch, rows);
    this.#cleanBatches = stored.length === rows.length ? this.#cleanBatches + 1 : 0;
    const isClean = way === "copy" || this.#cleanBatches >= CLEAN_BATCHES;
    this.#way = isClean ? "copy" : "look up and copy";
    return stored;
  }
}

/** @returns the rows of the events that were new. @throws CopyFailed */
export async function insertBy(
  way: InsertWay,
  tx: SessionTransaction,
  batch: Batch,
  rows: Int32Array,
): Promise<Int32Array> {
  if (way === "copy") {
    await insertByCopy(tx, batch, rows);
    return rows;
  }
  // In key order: workers that insert the same ids in different orders deadlock, and a deadlock costs a second.
  const sorted = Array.from(rows, (row) => ({ row, id: batch.rows.eventId(row) })).toSorted((a, b) =>
    compareTexts(a.id, b.id),
  );
  if (way === "insert") return await insertRows(tx, batch, rowsOf(sorted));
  const ids = sorted.map(({ id }) => id);
  const [found] = await tx.unsafe<[{ stored_ids: string[] }]>(LOOK_UP, [textArray(ids, !batch.hasEscapes)], {
    prepare: true,
  });
  const storedIds = new Set(found.stored_ids);
  const { repeated = [], others = [] } = Object.groupBy(sorted, ({ id }) =>
    storedIds.has(id) ? "repeated" : "others",
  );
  // The INSERT stores none of the repeated ones, but refuses those that are no events for this table.
  const inserted = repeated.length === 0 ? [] : await insertRows(tx, batch, rowsOf(repeated));
  const copied = rowsOf(others);
  await insertByCopy(tx, batch, copied);
  return inserted.length === 0 ? copied : Int32Array.from([...copied, ...inserted]);
}

function rowsOf(sorted: readonly { readonly row: number }[]): Int32Array {
  return Int32Array.from(sorted, ({ row }) => row);
}

/** @returns the rows of the events that were new */
async function insertRows(tx: Transaction, batch: Batch, rows: Int32Array): Promise<Int32Array> {
  const events = batch.eventsOf(rows);
  const newIds = await insertByUnnest(tx, events, batch.clock.processedAtMs, !batch.hasEscapes);
  return newIds === undefined ? rows : rows.filter((row) => newIds.has(batch.rows.eventId(row)));
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/**
 * Inserts raw events of which any may be stored already.
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
  let areAllNew = true;
  const newIds: string[] = [];
  for (const page of pagesOf(events)) {
    const found = await insertPage(tx, page, processedAtMs, plain);
    if (found !== null) areAllNew = false;
    for (const id of found ?? page.map(({ event }) => event.eventId)) newIds.push(id);
  }
  return areAllNew ? undefined : new Set(newIds);
}

/** Splits events at UNITS_AT_ONCE; nearly always into one page. */
export function* pagesOf(events: readonly BatchEvent[]): Generator<readonly BatchEvent[]> {
  let start = 0;
  let units = 0;
  for (const [index, { event }] of events.entries()) {
    const { length } = event.eventDataText;
    if (index > start && units + length > UNITS_AT_ONCE) {
      yield events.slice(start, index);
      start = index;
      units = 0;
    }
    units += length;
  }
  if (start < events.length) yield start === 0 ? events : events.slice(start);
}

/** The columns of raw_events as parameters: array literals, event_data as one text, and processed_at. */
export function eventColumns(events: readonly BatchEvent[], processedAtMs: number, plain: boolean): string[] {
  const texts = (of: (event: StoredEvent) => string): string =>
    textArray(
      events.map(({ event }) => of(event)),
      plain,
    );
  return [
    texts(({ eventId }) => eventId),
    texts(({ userId }) => userId),
    texts(({ eventType }) => eventType),
    events.map(({ event }) => event.eventDataText).join(SEPARATOR),
    numberArray(
      events.map(({ event }) => (event.durationMs === undefined ? undefined : event.durationMs / 1000)),
    ),
    `{${events.map(({ event }) => formatTimestamp(event.timestampMs, event.timestampMicros)).join(",")}}`,
    formatTimestamp(processedAtMs, 0),
  ];
}

/** @returns the ids that were new, or null where all were */
async function insertPage(
  tx: Transaction,
  events: readonly BatchEvent[],
  processedAtMs: number,
  plain: boolean,
): Promise<readonly string[] | null> {
  const rows = await tx.unsafe<{ new_ids: string[] | null }[]>(
    INSERT_BY_UNNEST,
    [...eventColumns(events, processedAtMs, plain), events.length],
    { prepare: true },
  );
  return rows[0]?.new_ids ?? null;
}

/** PostgreSQL has refused a COPY, most likely because an event_id is stored already. The transaction has failed. */
export class CopyFailed extends Error {
  override readonly name = "CopyFailed";
}

/**
 * Inserts raw events of which none may be stored already.
 *
 * @param rows of the events
 * @throws CopyFailed where the server refuses them for any reason; else what the driver throws
 */
async function insertByCopy(tx: SessionTransaction, batch: Batch, rows: Int32Array): Promise<void> {
  if (rows.length === 0) return;
  try {
    await tx.copyIn(COPY, batch.rows.copyInput(rows));
    // Shows whether the COPY failed, see `copyIn`.
    await tx.unsafe("select 1");
  } catch (error) {
    throw classify(error) === "connection" ? error : new CopyFailed("the COPY failed", { cause: error });
  }
}
