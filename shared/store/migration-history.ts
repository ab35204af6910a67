// Compares pipeline_migrations, the list of the files of sql/ that a database has, with the files.

import { FatalError } from "../runtime/errors.ts";
import { checksumOf, type Migration } from "./migration-files.ts";
import type { Transaction } from "./session.ts";

/** A row of pipeline_migrations. */
export interface AppliedRow {
  version: number;
  name: string;
  checksum: string;
}

/** Other programs have a table schema_migrations too: ours has these columns, and rows with the names of our files. */
export async function isOurs(tx: Transaction, migrations: readonly Migration[]): Promise<boolean> {
  const columns = await tx<{ column: string }[]>`
    select concat(attname, ' ', atttypid::regtype) as column from pg_attribute
    where attrelid = to_regclass('schema_migrations') and attnum > 0 and not attisdropped
    order by attnum`;
  const found = columns.map(({ column }) => column).join();
  if (found !== "version integer,name text,checksum text,applied_at timestamp with time zone") return false;
  const rows = await tx<AppliedRow[]>`select version, name, checksum from schema_migrations`;
  const known = new Map(migrations.map(({ version, name }) => [version, name]));
  return rows.length > 0 && rows.every(({ version, name }) => (known.get(version) ?? name) === name);
}

/** @throws FatalError where they differ, or the database has files of a newer version */
export function assertSameHistory(applied: readonly AppliedRow[], migrations: readonly Migration[]): void {
  for (const [index, row] of applied.entries()) {
    const migration = migrations[index];
    if (migration === undefined) {
      throw new FatalError(
        `the database has migration ${row.name}, which this version does not know: a newer version made it; start that version`,
      );
    }
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
}
