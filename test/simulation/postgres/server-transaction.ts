// Runs one transaction of the model: its locks, its changes, and how they end.

import { DELETED, type Entry, type RowTable, visibleRow } from "./row-table.ts";
import { serverError } from "./server-error.ts";
import type { Timer } from "./scheduler.ts";
import type { Change } from "./tables.ts";

/** What a transaction needs of its backend and server. */
export interface TransactionHost {
  readonly pid: number;
  readonly lockTimeoutMs: number;
  readonly deadlockTimeoutMs: number;
  /** What it executes now, in a few words. */
  readonly statementName: string;
  /** The transactions that wait for each other; the first one is ended. */
  onDeadlock(members: readonly ServerTransaction[]): void;
  after(ms: number, run: () => void): Timer;
  /** Takes a moment, in which other transactions go on. */
  pause(): Promise<void>;
}

interface Step {
  readonly table: RowTable<object>;
  readonly entry: Entry<object>;
  readonly pendingBefore: object | typeof DELETED | undefined;
  readonly wasOwned: boolean;
}

/** A transaction of the server at READ COMMITTED. Its locks are exclusive, and last until its end or its savepoint's. */
export class ServerTransaction {
  readonly host: TransactionHost;
  /** now(): the database's clock at the beginning, ms since 1970. */
  readonly startedAtMs: number;
  readonly isReadOnly: boolean;
  /** set_config(…, true) of settings that have no meaning for the server. */
  readonly settings = new Map<string, string>();
  #hasFailed = false;
  #hasEnded = false;
  readonly #steps: Step[] = [];
  readonly #savepoints: { readonly name: string; readonly mark: number }[] = [];
  /** After so many more locks the statement takes a moment; Infinity: it does not. */
  locksUntilPause = Infinity;
  /** The entry whose owner this transaction waits for. */
  #waitsFor: Entry<object> | undefined;
  #endWait: ((error: Error) => void) | undefined;

  constructor(host: TransactionHost, startedAtMs: number, isReadOnly: boolean) {
    this.host = host;
    this.startedAtMs = startedAtMs;
    this.isReadOnly = isReadOnly;
  }

  /** True after an error: all further statements are refused until the rollback. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** True in a savepoint: what it has done so far may still be undone, without the end of the transaction. */
  get isInSavepoint(): boolean {
    return this.#savepoints.length > 0;
  }

  /** The transaction that this one waits for. */
  get blocker(): ServerTransaction | undefined {
    return this.#waitsFor?.owner;
  }

  /** Waits until no other transaction holds the entry, and locks it. */
  async lock<Row extends object>(table: RowTable<Row>, entry: Entry<Row>): Promise<void> {
    while (entry.owner !== undefined && entry.owner !== this) await this.#wait(entry);
    this.#own(table, entry);
    if (--this.locksUntilPause === 0) await this.host.pause();
  }

  /** Changes or deletes a row that this transaction has locked. */
  write<Row extends object>(table: RowTable<Row>, entry: Entry<Row>, row: Row | typeof DELETED): void {
    if (entry.owner !== this) throw new Error(`${table.name}: the row ${entry.key} is not locked`);
    this.#steps.push({ ...stepOf(table, entry), pendingBefore: entry.pending, wasOwned: true });
    entry.pending = row;
  }

  /**
   * Inserts a row unless its key exists. Another transaction that has inserted or changed the key, and has not ended
   * yet, is waited for, as a unique index does.
   * @returns false where the key exists
   */
  async insert<Row extends object>(table: RowTable<Row>, key: string, row: Row): Promise<boolean> {
    for (;;) {
      // Read again after each wait: a rollback of the other transaction removes its entry.
      const entry = table.entry(key);
      if (entry.owner !== undefined && entry.owner !== this && entry.pending !== undefined) {
        await this.#wait(entry);
        continue;
      }
      if (visibleRow(entry, this) !== undefined) return false;
      this.#own(table, entry);
      this.write(table, entry, row);
      if (--this.locksUntilPause === 0) await this.host.pause();
      return true;
    }
  }

  /** A statement has failed: its locks, and those since the last savepoint, are free at once, before any rollback. */
  fail(): void {
    this.#hasFailed = true;
    this.#undoTo(this.#savepoints.at(-1)?.mark ?? 0);
  }

  savepoint(name: string): void {
    this.#savepoints.push({ name, mark: this.#steps.length });
  }

  /** Undoes what was done since the savepoint, which stays. */
  rollbackTo(name: string): void {
    const index = this.#savepoints.findLastIndex((each) => each.name === name);
    if (index < 0) throw serverError("3B001");
    this.#hasFailed = false;
    this.#savepoints.length = index + 1;
    this.#undoTo(this.#savepoints[index]!.mark);
  }

  /** Undoes everything, and lets the others go on. */
  rollback(): void {
    this.#hasEnded = true;
    this.#undoTo(0);
  }

  /** Makes all changes visible, and lets the others go on. @returns the changes, one for each row */
  commit(): Change[] {
    this.#hasEnded = true;
    const changes: Change[] = [];
    const freed: Entry<object>[] = [];
    for (const { table, entry } of this.#steps) {
      if (entry.owner !== this) continue;
      if (entry.pending !== undefined) {
        changes.push({
          table: table.name,
          key: entry.key,
          before: entry.committed,
          after: entry.pending === DELETED ? undefined : entry.pending,
        } as Change);
        entry.committed = entry.pending === DELETED ? undefined : entry.pending;
        entry.pending = undefined;
      }
      entry.owner = undefined;
      freed.push(entry);
    }
    for (const entry of freed) wake(entry);
    return changes;
  }

  /** Ends the wait for a lock, if there is one, with this error. */
  cancelWait(error: Error): void {
    this.#endWait?.(error);
  }

  /** The transactions of the deadlock that this one is part of; empty where there is none. */
  deadlock(): ServerTransaction[] {
    const cycle: ServerTransaction[] = [];
    let next = this.blocker;
    // A cycle that this transaction only leads to is found by its own members.
    while (next !== undefined && next !== this && !cycle.includes(next)) {
      cycle.push(next);
      next = next.blocker;
    }
    return next === this ? [this, ...cycle] : [];
  }

  #own<Row extends object>(table: RowTable<Row>, entry: Entry<Row>): void {
    // A backend that was ended while it was being woken must not take a lock any more.
    if (this.#hasEnded) throw serverError("57P01");
    if (entry.owner === this) return;
    this.#steps.push({ ...stepOf(table, entry), pendingBefore: undefined, wasOwned: false });
    entry.owner = this;
  }

  /** Waits until the entry's owner has changed. @throws 55P03, 40P01, or the error of `cancelWait` */
  async #wait<Row extends object>(entry: Entry<Row>): Promise<void> {
    const { host } = this;
    const waiting = Promise.withResolvers<void>();
    const onFreed = () => waiting.resolve();
    const timers = [
      host.after(host.lockTimeoutMs, () => waiting.reject(serverError("55P03"))),
      // The transaction that finds the deadlock is the one that ends.
      host.after(host.deadlockTimeoutMs, () => {
        const members = this.deadlock();
        if (members.length === 0) return;
        host.onDeadlock(members);
        waiting.reject(serverError("40P01"));
      }),
    ];
    this.#waitsFor = entry;
    this.#endWait = (error) => waiting.reject(error);
    entry.waiters.push(onFreed);
    try {
      await waiting.promise;
    } finally {
      for (const timer of timers) timer.cancel();
      entry.waiters = entry.waiters.filter((each) => each !== onFreed);
      this.#waitsFor = undefined;
      this.#endWait = undefined;
    }
  }

  #undoTo(mark: number): void {
    while (this.#steps.length > mark) {
      const { table, entry, pendingBefore, wasOwned } = this.#steps.pop()!;
      entry.pending = pendingBefore;
      if (wasOwned) continue;
      entry.owner = undefined;
      table.prune(entry);
      wake(entry);
    }
  }
}

function stepOf<Row extends object>(
  table: RowTable<Row>,
  entry: Entry<Row>,
): { table: RowTable<object>; entry: Entry<object> } {
  return { table, entry };
}

function wake(entry: Entry<object>): void {
  for (const onFreed of entry.waiters) onFreed();
}
