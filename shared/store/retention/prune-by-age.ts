// Deletes dead letters and pipeline metrics that are older than some days.

import { REJECTION_REASONS } from "../../pipeline/rejection.ts";
import { textArray } from "../array-literal.ts";
import { LETTER_STATES } from "../dead-letters/selection.ts";
import type { Session, Transaction } from "../session.ts";
import { daysAgo } from "./cutoff.ts";
import type { Pruner, PruneStep, PrunedTable } from "./pruner.ts";
import { StepSize } from "./step-size.ts";

/** A letter may hold megabytes, which are deleted with it. */
const LEAST_ROWS = 4;
const MOST_ROWS = 2000;

/** Deletes the next rows. @returns how many */
type DeleteRows = (tx: Transaction, days: number, limit: number) => Promise<number>;

export class AgePruner implements Pruner {
  readonly table: PrunedTable;
  readonly #days: number;
  readonly #deleteRows: DeleteRows;
  readonly #size = new StepSize(LEAST_ROWS, MOST_ROWS);
  #isAtEnd = false;

  constructor(table: keyof typeof DELETE_ROWS, days: number) {
    this.table = table;
    this.#days = days;
    this.#deleteRows = DELETE_ROWS[table];
  }

  async next(_session: Session): Promise<PruneStep | undefined> {
    if (this.#isAtEnd) {
      this.#isAtEnd = false;
      return undefined;
    }
    const rows = this.#size.current;
    return {
      run: async (tx) => await this.#deleteRows(tx, this.#days, rows),
      committed: (deleted, ms) => {
        this.#isAtEnd = deleted < rows;
        this.#size.adapt(ms);
      },
    };
  }

  forget(): void {
    this.#isAtEnd = false;
  }
}

/**
 * The oldest letters of each state and reason, by dead_letter_events_state_idx. A letter that is being replayed is waited
 * for, and counted as what became of it.
 */
async function deleteLetters(tx: Transaction, days: number, limit: number): Promise<number> {
  const [{ rows }] = await tx<[{ rows: number }]>`
    with doomed as materialized (
      select l.* from unnest(${textArray(LETTER_STATES)}::text[]) as s (state)
        cross join unnest(${textArray(REJECTION_REASONS)}::text[]) as r (reason)
        cross join lateral (
          select topic, topic_id, partition, reading, "offset" from dead_letter_events d
          where d.state = s.state and d.reason = r.reason and d.first_seen_at < ${daysAgo(tx, days)}
          order by d.first_seen_at
          limit ${limit}
        ) l
      limit ${limit}
    ), deleted as (
      delete from dead_letter_events d using doomed l
      where d.topic = l.topic and d.topic_id = l.topic_id and d.partition = l.partition and d.reading = l.reading
        and d."offset" = l."offset"
      returning d.topic, d.topic_id, d.partition, d.reading, d.state
    ), counted as (
      insert into pruned_dead_letters as p (topic, topic_id, partition, reading, state, letters)
      select topic, topic_id, partition, reading, state, count(*) from deleted group by 1, 2, 3, 4, 5
      on conflict (topic, topic_id, partition, reading, state) do update set letters = p.letters + excluded.letters
    )
    select count(*)::int as rows from deleted`;
  return rows;
}

/** They are written in the order of their ids. */
async function deleteMetrics(tx: Transaction, days: number, limit: number): Promise<number> {
  const deleted = await tx`
    delete from pipeline_metrics
    where id in (select id from pipeline_metrics order by id limit ${limit}) and recorded_at < ${daysAgo(tx, days)}`;
  return deleted.count;
}

const DELETE_ROWS = {
  dead_letter_events: deleteLetters,
  pipeline_metrics: deleteMetrics,
} as const satisfies Partial<Record<PrunedTable, DeleteRows>>;
