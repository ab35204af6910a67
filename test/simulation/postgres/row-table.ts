// Keeps the rows of one table: what is committed, and what one transaction has changed and not committed yet.

import type { ServerTransaction } from "./server-transaction.ts";

/** In place of a row that its owner has deleted. */
export const DELETED = Symbol("deleted");

/** A key of the table. Rows are never changed in place: a change replaces the row. */
export interface Entry<Row> {
  readonly key: string;
  committed: Row | undefined;
  /** The row as its owner has written it; undefined where the owner has only locked it. */
  pending: Row | typeof DELETED | undefined;
  /** The transaction that holds the lock. */
  owner: ServerTransaction | undefined;
  /** Transactions that wait for the owner's end, first come first served. */
  waiters: (() => void)[];
}

/** One table. */
export class RowTable<Row extends object> {
  readonly name: string;
  readonly #entries = new Map<string, Entry<Row>>();

  constructor(name: string) {
    this.name = name;
  }

  get(key: string): Entry<Row> | undefined {
    return this.#entries.get(key);
  }

  /** The entry of a key, a new one where there is none. */
  entry(key: string): Entry<Row> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { key, committed: undefined, pending: undefined, owner: undefined, waiters: [] };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  entries(): Iterable<Entry<Row>> {
    return this.#entries.values();
  }

  /** The committed row of a key. */
  row(key: string): Row | undefined {
    return this.#entries.get(key)?.committed;
  }

  /** All committed rows, in no particular order. */
  rows(): Row[] {
    const rows: Row[] = [];
    for (const { committed } of this.#entries.values()) if (committed !== undefined) rows.push(committed);
    return rows;
  }

  /** Forgets a key that holds no row. */
  prune(entry: Entry<Row>): void {
    if (entry.committed === undefined && entry.pending === undefined) this.#entries.delete(entry.key);
  }

  /** Sets a committed row back to what it was before a transaction that a crash has lost. */
  restore(key: string, row: Row | undefined): void {
    const entry = this.entry(key);
    entry.committed = row;
    this.prune(entry);
  }
}

/** The row of an entry as a transaction sees it: its own change, else what is committed. */
export function visibleRow<Row>(entry: Entry<Row>, transaction: ServerTransaction): Row | undefined {
  const row = entry.owner === transaction ? (entry.pending ?? entry.committed) : entry.committed;
  return row === DELETED ? undefined : row;
}
