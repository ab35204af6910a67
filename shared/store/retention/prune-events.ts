// Deletes the raw events of sealed hours, some pages of the table at a time.

import { codeOf } from "../../runtime/errors.ts";
import type { Session, Transaction } from "../session.ts";
import type { Pruner, PruneStep } from "./pruner.ts";
import { StepSize } from "./step-size.ts";

/** A search holds no lock, but a consumer that stops waits for it. */
const SEARCH_MS = 5000;
const QUERY_CANCELED = "57014";
const INSUFFICIENT_PRIVILEGE = "42501";
const LOCK_NOT_AVAILABLE = "55P03";
/** Below the second after which an autovacuum that is waited for gives up. */
const FORGET_MS = 100;

/** Pages of 8 kB; the most of one step hold some thousands of events. */
const LEAST_PAGES = 16;
const MOST_PAGES = 64;

/** An hour that has raw events to delete, and where in the table they are. */
interface Walk {
  /** As PostgreSQL writes it. */
  readonly hour: string;
  /** The types that were sealed when the hour was found, as PostgreSQL writes an array. */
  readonly types: string;
  /** Rows that are still there, unless somebody has deleted some by hand. */
  readonly left: number;
  readonly firstPage: number;
  readonly nextPage: number;
  readonly endPage: number;
  /** The pages are those of the whole table: nothing of the hour is left behind them. */
  readonly isWholeTable: boolean;
}

const FIND_HOUR = `
  select aggregation_hour::text as hour, array_agg(event_type)::text as types,
    sum(total_events - unsaved_events - pruned_events)::bigint as left
  from sealed_hours
  where events_pruned_at is null and aggregation_hour < (select raw_events_cutoff from pipeline_state)
  group by aggregation_hour order by aggregation_hour limit 1`;

const OF_HOUR = `"timestamp" >= $1::text::timestamptz and "timestamp" < $1::text::timestamptz + interval '1 hour'
    and event_type = any($2::text::text[])`;

const FIND_PAGES = `select min(ctid)::text as first, max(ctid)::text as last from raw_events where ${OF_HOUR}`;

const COUNT_PAGES = `
  select (pg_relation_size('raw_events') / current_setting('block_size')::int)::int as pages`;

const DELETE_PAGES = `
  with deleted as (
    delete from raw_events where ctid >= $3::text::tid and ctid < $4::text::tid and ${OF_HOUR} returning event_type
  ), counted as (
    select event_type, count(*) as events from deleted group by event_type
  ), sealed as (
    update sealed_hours s set pruned_events = s.pruned_events + c.events
    from counted c
    where s.aggregation_hour = $1::text::timestamptz and s.event_type = c.event_type
  )
  select coalesce(sum(events), 0)::int as rows from counted`;

// The summary of a range of pages only ever widens: once new events use its space, the range would still be read for each
// search of an old hour. Without a summary it is read until the next vacuum, which makes another one.
const FORGET_SUMMARIES = `
  select brin_desummarize_range('raw_events_timestamp_idx', page) from generate_series($1::bigint, $2::bigint, 128) as page`;

const FINISH = `
  update sealed_hours set events_pruned_at = now()
  where aggregation_hour = $1::text::timestamptz and event_type = any($2::text::text[]) and events_pruned_at is null`;

/**
 * The events of an hour lie about together, in the order in which they were stored: it is searched once where they begin
 * and end, and the pages between are walked. What it remembers is only where it is: after a kill the next one searches.
 */
export class EventPruner implements Pruner {
  readonly table = "raw_events";
  readonly #size = new StepSize(LEAST_PAGES, MOST_PAGES);
  readonly #searchMs: number;
  #walk: Walk | undefined;

  /** @param searchMs how long it searches for the pages of an hour, before it walks the whole table */
  constructor(searchMs = SEARCH_MS) {
    this.#searchMs = searchMs;
  }

  async next(session: Session): Promise<PruneStep | undefined> {
    let walk = this.#walk ?? (await findHour(session));
    if (walk === undefined) return undefined;
    // Searched again behind the last page: a rewrite of the table may have moved events.
    if (walk.nextPage >= walk.endPage && walk.left > 0 && !walk.isWholeTable) {
      walk = await findPages(session, walk, this.#searchMs);
    }
    const { nextPage, endPage, left } = walk;
    if (nextPage >= endPage || left <= 0) return this.#finish(walk);
    return this.#deletePages(walk, Math.min(endPage, nextPage + this.#size.current));
  }

  forget(): void {
    this.#walk = undefined;
  }

  #deletePages(walk: Walk, end: number): PruneStep {
    const parameters = [walk.hour, walk.types, `(${walk.nextPage},0)`, `(${end},0)`];
    return {
      run: async (tx) => (await tx.unsafe<[{ rows: number }]>(DELETE_PAGES, parameters))[0].rows,
      committed: (rows, ms) => {
        this.#walk = { ...walk, nextPage: end, left: walk.left - rows };
        this.#size.adapt(ms);
      },
    };
  }

  #finish({ hour, types, firstPage, endPage }: Walk): PruneStep {
    return {
      run: async (tx) => {
        await tx.unsafe(FINISH, [hour, types]);
        if (endPage > 0) await forgetSummaries(tx, firstPage, endPage - 1);
        return 0;
      },
      committed: () => this.forget(),
    };
  }
}

async function findHour(session: Session): Promise<Walk | undefined> {
  const [found] = await session.run((sql) => sql.unsafe<Pick<Walk, "hour" | "types" | "left">[]>(FIND_HOUR));
  return found && { ...found, firstPage: 0, nextPage: 0, endPage: 0, isWholeTable: false };
}

/** Finds the pages of what is left of an hour, none where nothing is; where that takes too long, all pages of the table. */
async function findPages(session: Session, walk: Walk, searchMs: number): Promise<Walk> {
  try {
    return await session.transaction(searchMs + 10_000, async (tx) => {
      await tx.unsafe(`set local statement_timeout = '${searchMs}ms'`);
      const [{ first, last }] = await tx.unsafe<[{ first: string | null; last: string | null }]>(FIND_PAGES, [
        walk.hour,
        walk.types,
      ]);
      // The pages that were walked before are those whose summaries are forgotten.
      if (first === null || last === null) return { ...walk, nextPage: walk.endPage };
      return { ...walk, firstPage: pageOf(first), nextPage: pageOf(first), endPage: pageOf(last) + 1 };
    });
  } catch (error) {
    if (codeOf(error) !== QUERY_CANCELED) throw error;
    const [{ pages }] = await session.run((sql) => sql.unsafe<[{ pages: number }]>(COUNT_PAGES));
    return { ...walk, firstPage: 0, nextPage: 0, endPage: pages, isWholeTable: true };
  }
}

/** It saves reading, no more: left out for a role that does not own the index, and while a vacuum runs. */
async function forgetSummaries(tx: Transaction, firstPage: number, lastPage: number): Promise<void> {
  await tx
    .savepoint(async (savepoint) => {
      await savepoint.unsafe(`set local lock_timeout = '${FORGET_MS}ms'`);
      await savepoint.unsafe(FORGET_SUMMARIES, [firstPage, lastPage]);
    })
    .catch((error: unknown) => {
      if (codeOf(error) !== INSUFFICIENT_PRIVILEGE && codeOf(error) !== LOCK_NOT_AVAILABLE) throw error;
    });
}

/** @param ctid "(page,row)" */
function pageOf(ctid: string): number {
  return Number(/^\((\d+),/.exec(ctid)![1]);
}
