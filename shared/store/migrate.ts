// Applies the numbered files of sql/ that a database lacks, or refuses a database that does not match them.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, FatalError } from "../runtime/errors.ts";
import type { Database, Transaction } from "./session.ts";
import { describeFault } from "./sqlstate.ts";

const SQL_FOLDER = join(import.meta.dir, "../../sql");
const FILE_NAME = /^(\d{3})_[a-z0-9_]+\.sql$/;
/** An arbitrary number, the same in every version: a program holds this lock while it migrates. */
const ADVISORY_LOCK = 7_061_905;

/** One file of sql/. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly text: string;
  /** SHA-256 of the text, hex. */
  readonly checksum: string;
}

interface AppliedRow {
  version: number;
  name: string;
  checksum: string;
}

/** Reads the numbered files of a folder, in order. @throws FatalError on a name or number out of sequence */
export async function readMigrations(folder = SQL_FOLDER): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).toSorted();
  return await Promise.all(
    names.map(async (name, index) => {
      const version = Number(FILE_NAME.exec(name)?.[1]);
      if (version !== index + 1) {
        throw new FatalError(
          `sql/${name}: expected a name that begins with ${String(index + 1).padStart(3, "0")}_`,
        );
      }
      const text = await Bun.file(join(folder, name)).text();
      return { version, name, text, checksum: new Bun.CryptoHasher("sha256").update(text).digest("hex") };
    }),
  );
}

/**
 * Applies the missing files in order, all in one transaction under an advisory lock: several programs may start at
 * once, and a file that fails leaves nothing behind.
 *
 * @returns the names of the files that were applied
 * @throws FatalError where the history of the database differs from the files, or belongs to a newer version
 */
export async function migrate(sql: Database, migrations: readonly Migration[]): Promise<string[]> {
  return await sql.begin(async (tx) => {
    // Another program's migration may take any time, and waiting for it is right.
    await tx`set local lock_timeout = 0`;
    await tx`set local statement_timeout = 0`;
    await tx`select pg_advisory_xact_lock(${ADVISORY_LOCK})`;
    await tx`
      create table if not exists schema_migrations (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
      )`;
    const applied = await tx<
      AppliedRow[]
    >`select version, name, checksum from schema_migrations order by version`;
    assertSameHistory(applied, migrations);
    const missing = migrations.slice(applied.length);
    for (const migration of missing) await apply(tx, migration);
    return missing.map(({ name }) => name);
  });
}

function assertSameHistory(applied: readonly AppliedRow[], migrations: readonly Migration[]): void {
  for (const [index, row] of applied.entries()) {
    const migration = migrations[index];
    if (migration === undefined) {
      throw new FatalError(
        `the database has migration ${row.name}, which this version does not know: a newer version made it; start that version`,
      );
    }
    if (row.version !== migration.version) {
      throw new FatalError(
        `schema_migrations has a row for ${row.name} but none for ${migration.name}: the table was edited by hand; restore the missing row or the database`,
      );
    }
    if (row.checksum !== migration.checksum) {
      throw new FatalError(
        `sql/${migration.name} was changed after it was applied to this database; restore the file and put the change into a new file with a higher number`,
      );
    }
  }
}

async function apply(tx: Transaction, { version, name, text, checksum }: Migration): Promise<void> {
  try {
    await tx.unsafe(text);
    await tx`insert into schema_migrations (version, name, checksum) values (${version}, ${name}, ${checksum})`;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw new FatalError(
      `sql/${name} cannot be applied: ${describeFault(error)}. It was rolled back. If its tables were created by hand or by ` +
        "another program, drop them or start with an empty database",
    );
  }
}
