// Applies the numbered files of sql/ that a database lacks, or refuses a database that does not match them.

import { codeOf, FatalError } from "../runtime/errors.ts";
import type { Migration } from "./migration-files.ts";
import { type AppliedRow, assertSameHistory, isOurs } from "./migration-history.ts";
import { assertRights } from "./rights.ts";
import type { Database, Transaction } from "./session.ts";
import { describeFault } from "./sqlstate.ts";

/** An arbitrary number, the same in every version: a program holds this lock while it migrates. */
const ADVISORY_LOCK = 7_061_905;

/** Where the tables are or will be, and what this role may do there. */
interface Place {
  has_history: boolean;
  /** The name of the history before it got a name that no other program uses. */
  has_schema_migrations: boolean;
  role: string;
  /** Null where no schema of the search_path exists or may be used. */
  schema: string | null;
  may_create: boolean | null;
  /** The owner of the tables; null where there are none. */
  owner: string | null;
  is_owner: boolean | null;
}

/**
 * Applies the missing files in order, all in one transaction under an advisory lock: several programs may start at
 * once, and a file that fails leaves nothing behind. Where nothing is missing nothing is created, so that no right to
 * create is needed.
 *
 * @returns the names of the files that were applied
 * @throws FatalError where the history of the database differs from the files, or belongs to a newer version, or the role
 *   lacks a right
 */
export async function migrate(sql: Database, migrations: readonly Migration[]): Promise<string[]> {
  return await sql.begin((tx) => applyMissing(tx, migrations));
}

/**
 * Finds out what `migrate` would do, and changes nothing: in a new database it is tried and rolled back, in one with
 * tables only the role is looked at, because a file may hold up those who use the tables.
 * @returns the names of the files that `migrate` would apply
 * @throws FatalError as `migrate`
 */
export async function previewMigrations(sql: Database, migrations: readonly Migration[]): Promise<string[]> {
  let missing: string[] = [];
  const preview = async (tx: Transaction): Promise<never> => {
    missing = await applyMissing(tx, migrations, { isPreview: true });
    throw new RolledBack();
  };
  await sql.begin(preview).catch((error: unknown) => {
    if (!(error instanceof RolledBack)) throw error;
  });
  return missing;
}

class RolledBack extends Error {}

async function applyMissing(
  tx: Transaction,
  migrations: readonly Migration[],
  { isPreview = false } = {},
): Promise<string[]> {
  // Another program's migration may take any time, and waiting for it is right.
  await tx`set local lock_timeout = 0`;
  await tx`set local statement_timeout = 0`;
  await tx`select pg_advisory_xact_lock(${ADVISORY_LOCK})`;
  const [place] = await tx<[Place]>`
      select to_regclass('pipeline_migrations') is not null as has_history,
        to_regclass('schema_migrations') is not null as has_schema_migrations,
        current_user::text as role, current_schema()::text as schema,
        has_schema_privilege(current_schema(), 'CREATE') as may_create,
        (select pg_get_userbyid(relowner)::text from pg_class where oid = to_regclass('raw_events')) as owner,
        (select pg_has_role(relowner, 'USAGE') from pg_class where oid = to_regclass('raw_events')) as is_owner`;
  if (!place.has_history) await makeHistory(tx, place, migrations);
  await assertRights(tx, ["SELECT"], ["pipeline_migrations"]);
  const applied = await tx<AppliedRow[]>`
      select version, name, checksum from pipeline_migrations order by version`;
  assertSameHistory(applied, migrations);
  const missing = migrations.slice(applied.length);
  if (isPreview && missing.length > 0 && place.is_owner === false) {
    throw new FatalError(`${missing.length} new files of sql/ have to be applied. ${startAsOwner(place)}`);
  }
  const isTried = !isPreview || applied.length === 0;
  if (isTried) for (const migration of missing) await apply(tx, place, migration);
  return missing.map(({ name }) => name);
}

/** Creates the table of what was applied, or renames the one that an earlier version called schema_migrations. */
async function makeHistory(tx: Transaction, place: Place, migrations: readonly Migration[]): Promise<void> {
  try {
    if (place.has_schema_migrations && (await isOurs(tx, migrations))) {
      await tx`alter table schema_migrations rename to pipeline_migrations`;
      await tx`alter index if exists schema_migrations_pkey rename to pipeline_migrations_pkey`;
      return;
    }
    await tx`
      create table pipeline_migrations (
        version integer primary key,
        name text not null,
        checksum text not null,
        applied_at timestamptz not null default now()
      )`;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw new FatalError(
      `the table pipeline_migrations cannot be created: ${describeFault(error)}. ${adviceOn(error, place)}`,
    );
  }
}

async function apply(
  tx: Transaction,
  place: Place,
  { version, name, text, checksum }: Migration,
): Promise<void> {
  try {
    await tx.unsafe(text);
    await tx`insert into pipeline_migrations (version, name, checksum) values (${version}, ${name}, ${checksum})`;
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    throw new FatalError(
      `sql/${name} cannot be applied: ${describeFault(error)}. It was rolled back. ${adviceOn(error, place)}`,
    );
  }
}

const INSUFFICIENT_PRIVILEGE = "42501";
const NO_SCHEMA = "3F000";

function adviceOn(error: unknown, { role, schema, may_create, owner }: Place): string {
  const code = codeOf(error);
  if (schema === null && (code === NO_SCHEMA || code === INSUFFICIENT_PRIVILEGE)) {
    return `Role "${role}" may use no schema of its search_path: GRANT USAGE, CREATE ON SCHEMA public TO "${role}"`;
  }
  if (code !== INSUFFICIENT_PRIVILEGE) {
    return "If its tables were created by hand or by another program, drop them or start with an empty database";
  }
  if (may_create !== true) {
    return `Role "${role}" may not create tables in schema "${schema}": GRANT CREATE ON SCHEMA "${schema}" TO "${role}"`;
  }
  return startAsOwner({ owner });
}

function startAsOwner({ owner }: Pick<Place, "owner">): string {
  return `The tables belong to role "${owner}": start this version once with DB_USER=${owner}`;
}
