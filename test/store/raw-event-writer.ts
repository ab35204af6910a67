// Commits events to the raw_events of a new database, batch after batch.
import { expect } from "bun:test";
import type { TestDatabase } from "../support/postgres.ts";
import { batchFrom, enter, openStore, pipelineDatabase, type TestStore } from "./pipeline-database.ts";

export const freshId = (): string => `event_${crypto.randomUUID()}`;

/** The two ways to insert raw events. */
export const WAYS = [
  { how: "by COPY", copyRawEvents: true },
  { how: "by unnest", copyRawEvents: false },
] as const;

/** A database, and a store that writes to it. */
export class RawEventWriter implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly worker: TestStore;
  /** Where the next batch begins. */
  nextOffset = 0;

  private constructor(database: TestDatabase, worker: TestStore) {
    this.database = database;
    this.worker = worker;
  }

  static async open(copyRawEvents: boolean): Promise<RawEventWriter> {
    const database = await pipelineDatabase();
    const worker = await openStore(database, { copyRawEvents });
    await enter(worker.session, 1);
    return new RawEventWriter(database, worker);
  }

  /** Commits these values as one batch. Each must become a raw event, without a failed COPY. */
  async store(...values: string[]): Promise<void> {
    const batch = batchFrom(this.nextOffset, values);
    expect([...batch.rejected.deadLetters()].map(({ rejection }) => rejection)).toEqual([]);
    const { stored, copyFailed } = await this.worker.store.commit(batch);
    expect(stored).toHaveLength(values.length);
    expect(copyFailed).toBe(false);
    this.nextOffset += values.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.worker[Symbol.asyncDispose]();
    await this.database[Symbol.asyncDispose]();
  }
}
