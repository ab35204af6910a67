// Reads many rows in one snapshot, and ends with its client.

import type { Database, Transaction } from "./session.ts";

// Enough memory to group a few million rows without a file. A parallel hash would need shared memory, and a
// container has only 64 MB of it.
const SETTINGS = `set local work_mem = '128MB'; set local enable_parallel_hash = off; set local jit = off;
  set local statement_timeout = 0`;

// Ends the snapshot of a program that was killed in the middle of a statement.
const WATCH_CLIENT = `set client_connection_check_interval = '5s'`;

/** Runs statements in one REPEATABLE READ snapshot, read only and without a time limit. */
export async function inSnapshot<T>(sql: Database, body: (tx: Transaction) => Promise<T>): Promise<T> {
  // Not every platform can do it.
  await sql.unsafe(WATCH_CLIENT).catch(() => undefined);
  return (await sql.begin("isolation level repeatable read read only", async (tx) => {
    await tx.unsafe(SETTINGS);
    return await body(tx);
  })) as T;
}
