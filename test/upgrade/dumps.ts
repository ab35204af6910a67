// Finds the dumps of the releases, and loads them.
import { join } from "node:path";
import type { TestDatabase } from "../support/postgres.ts";

/** @param schema how many files of sql/ were applied */
export function dumpPath(schema: number): string {
  return join(import.meta.dir, `dumps/${String(schema).padStart(3, "0")}.sql`);
}

/** Fills an empty database. */
export async function loadDump({ sql }: TestDatabase, schema: number): Promise<void> {
  await sql.unsafe(await Bun.file(dumpPath(schema)).text());
}
