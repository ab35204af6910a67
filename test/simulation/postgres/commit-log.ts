// Remembers the last commits, because a crash of the server may take them back.

import type { RowTable } from "./row-table.ts";
import type { Change, CommittedTransaction, Tables } from "./tables.ts";

/** With synchronous_commit=off a COMMIT is on disk after three rounds of the WAL writer, of 200 ms each, at the latest. */
const DURABLE_AFTER_MS = 600;

export class CommitLog {
  #sequence = 0;
  /** The commits that may not be on disk yet, oldest first. */
  #recent: CommittedTransaction[] = [];

  /** @param isSynchronous true where the commit, and all before it, are on disk before it is answered */
  add(
    transaction: { backendPid: number; atMs: number; changes: readonly Change[] },
    isSynchronous: boolean,
  ): CommittedTransaction {
    const committed = { sequence: ++this.#sequence, ...transaction };
    this.#recent = isSynchronous
      ? []
      : [...this.#recent.filter(({ atMs }) => atMs > transaction.atMs - DURABLE_AFTER_MS), committed];
    return committed;
  }

  /** Everything is on disk: the server was stopped in good order. */
  flush(): void {
    this.#recent = [];
  }

  /** Takes back at most `count` of the last commits. @returns those that are lost, newest first */
  lose(count: number, nowMs: number, tables: Tables): CommittedTransaction[] {
    const atRisk = this.#recent.filter(({ atMs }) => atMs > nowMs - DURABLE_AFTER_MS);
    const lost = count <= 0 ? [] : atRisk.slice(-count).toReversed();
    for (const { changes } of lost) {
      for (const { table, key, before } of changes.toReversed()) tableOf(tables, table).restore(key, before);
    }
    this.#recent = [];
    return lost;
  }
}

function tableOf(tables: Tables, name: Change["table"]): RowTable<object> {
  const table = {
    pipeline_offsets: tables.offsets,
    raw_events: tables.rawEvents,
    hourly_aggregations: tables.hours,
    hourly_users: tables.hourUsers,
    dead_letter_events: tables.deadLetters,
    sealed_hours: tables.sealedHours,
    pipeline_state: tables.state,
  }[name];
  return table;
}
