// Compares pipeline_migrations, the list of the files of sql/ that a database has, with the files.

import { FatalError } from "../runtime/errors.ts";
import { checksumOf, type Migration } from "./migration-files.ts";
import type { Transaction } from "./session.ts";

interface AppliedRow {
  version: number;
  name: string;
  checksum: string;
  /** Null where only programs that know the file can work with the tables. */
  compatible_with: number | null;
}

/** What a program finds where it knows other files than the database has. */
export interface HistoryDifference {
  /** The files that the database lacks. */
  readonly missing: readonly Migration[];
  /** The names of files that only a newer version knows, and with which this one can work. */
  readonly newer: readonly string[];
}

/** Other programs have a table schema_migrations too: ours has these columns, and rows with the names of our files. */
export async function isOurs(tx: Transaction, migrations: readonly Migration[]): Promise<boolean> {
  const columns = await tx<{ column: string }[]>`
    select concat(attname, ' ', atttypid::regtype) as column from pg_attribute
    where attrelid = to_regclass('schema_migrations') and attnum > 0 and not attisdropped
    order by attnum`;
  const found = columns.map(({ column }) => column).join();
  if (found !== "version integer,name text,checksum text,applied_at timestamp with time zone") return false;
  const rows = await tx<{ version: number; name: string }[]>`select version, name from schema_migrations`;
  const known = new Map(migrations.map(({ version, name }) => [version, name]));
  return rows.length > 0 && rows.every(({ version, name }) => (known.get(version) ?? name) === name);
}

/**
 * @throws FatalError where the database and the program have another history, or the program is too old to work with the
 *   tables
 */
export async function compareHistory(
  tx: Transaction,
  migrations: readonly Migration[],
): Promise<HistoryDifference> {
  // By way of jsonb: the table of an earlier version lacks the last column.
  const applied = await tx<AppliedRow[]>`
    select version, name, checksum, (to_jsonb(m) ->> 'compatible_with')::integer as compatible_with
    from pipeline_migrations m order by version`;
  const newest = migrations.length;
  for (const [index, row] of applied.slice(0, newest).entries()) assertSame(row, migrations[index]!);
  const newer = applied.slice(newest);
  for (const row of newer) assertCompatible(row, newest);
  return { missing: migrations.slice(applied.length), newer: newer.map(({ name }) => name) };
}

function assertSame(row: AppliedRow, migration: Migration): void {
  if (row.version !== migration.version) {
    throw new FatalError(
      `pipeline_migrations has a row for ${row.name} but none for ${migration.name}: the table was edited by hand; restore the missing row or the database`,
    );
  }
  // An earlier version took the checksum of a file with the line ends that its checkout gave it.
  const checksums = [migration.checksum, checksumOf(migration.text.replaceAll("\n", "\r\n"))];
  if (!checksums.includes(row.checksum)) {
    throw new FatalError(
      `sql/${migration.name} was changed after it was applied to this database; restore the file and put the change into a new file with a higher number`,
    );
  }
}

/** @param newest the number of the newest file that this program knows */
function assertCompatible({ name, compatible_with }: AppliedRow, newest: number): void {
  if (compatible_with !== null && compatible_with <= newest) return;
  throw new FatalError(
    `the database has migration ${name}, which this version does not know and cannot work with: a newer version made it; start that version`,
  );
}

/** Notes that a file was applied. */
export async function recordMigration(
  tx: Transaction,
  { version, name, checksum, compatibleWith }: Migration,
): Promise<void> {
  await tx`alter table pipeline_migrations add column if not exists compatible_with integer`;
  await tx`
    insert into pipeline_migrations (version, name, checksum, compatible_with)
    values (${version}, ${name}, ${checksum}, ${compatibleWith ?? null})`;
}
