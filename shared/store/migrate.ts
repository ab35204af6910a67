// Applies the numbered files of sql/ that a database lacks, or refuses a database that does not match them.

import { codeOf, FatalError } from "../runtime/errors.ts";
import type { Migration } from "./migration-files.ts";
import { compareHistory, isOurs, recordMigration } from "./migration-history.ts";
import { assertRights } from "./rights.ts";
import type { Database, Transaction } from "./session.ts";
import { classify, describeFault } from "./sqlstate.ts";

/** An arbitrary number, the same in every version: a program holds this lock while it migrates. */
const ADVISORY_LOCK = 7_061_905;
/**
 * How long a file waits for a lock, ms. Those who come later wait behind it, so it gives up and is tried again; and it
 * does so before PostgreSQL looks for a deadlock and ends one side.
 */
const LOCK_TIMEOUT_MS = 800;

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

/** The files by which the tables and the program differ, by their names. */
export interface Migrated {
  /** What the database lacked. */
  readonly applied: readonly string[];
  /** What only a newer version knows. This one can work with the tables. */
  readonly newer: readonly string[];
}

/**
 * Applies the missing files in order, all in one transaction under an advisory lock: several programs may start at
 * once, and a file that fails leaves nothing behind. Where nothing is missing nothing is created, so that no right to
 * create is needed. Consumers that run wait until it is over, and go on.
 *
 * @throws FatalError where the history of the database differs from the files, or belongs to a newer version with which
 *   this one cannot work, or the role lacks a right
 * @throws TablesInUse where others use the tables: nothing was changed, and it can be tried again in some seconds
 */
export async function migrate(sql: Database, migrations: readonly Migration[]): Promise<Migrated> {
  try {
    return await sql.begin((tx) => applyMissing(tx, migrations));
  } catch (error) {
    throw classify(error) === "blocked" ? await tablesInUse(sql, error) : error;
  }
}

/**
 * Finds out what `migrate` would do, and changes nothing: in a new database it is tried and rolled back, in one with
 * tables only the role is looked at, because a file may hold up those who use the tables.
 * @returns what `migrate` would return
 * @throws FatalError as `migrate`
 */
export async function previewMigrations(sql: Database, migrations: readonly Migration[]): Promise<Migrated> {
  let found: Migrated = { applied: [], newer: [] };
  const preview = async (tx: Transaction): Promise<never> => {
    found = await applyMissing(tx, migrations, { isPreview: true });
    throw new RolledBack();
  };
  await sql.begin(preview).catch((error: unknown) => {
    if (!(error instanceof RolledBack)) throw error;
  });
  return found;
}

class RolledBack extends Error {}

async function applyMissing(
  tx: Transaction,
  migrations: readonly Migration[],
  { isPreview = false } = {},
): Promise<Migrated> {
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
  const { missing, newer } = await compareHistory(tx, migrations);
  if (isPreview && missing.length > 0 && place.is_owner === false) {
    throw new FatalError(`${missing.length} new files of sql/ have to be applied. ${startAsOwner(place)}`);
  }
  const isTried = !isPreview || missing.length === migrations.length;
  if (isTried) for (const migration of missing) await apply(tx, place, migration);
  return { applied: missing.map(({ name }) => name), newer };
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
        applied_at timestamptz not null default now(),
        compatible_with integer
      )`;
  } catch (error) {
    if (isPassing(error)) throw error;
    throw new FatalError(
      `the table pipeline_migrations cannot be created: ${describeFault(error)}. ${adviceOn(error, place)}`,
    );
  }
}

async function apply(tx: Transaction, place: Place, migration: Migration): Promise<void> {
  try {
    await tx`select set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true)`;
    await tx.unsafe(KEEP_WORKERS_OUT);
    await tx.unsafe(migration.text);
    await recordMigration(tx, migration);
  } catch (error) {
    if (isPassing(error)) throw error;
    throw new FatalError(
      `sql/${migration.name} cannot be applied: ${describeFault(error)}. It was rolled back. ${adviceOn(error, place)}`,
    );
  }
}

/**
 * Every worker's transaction begins with this table. Without the lock, a file that locks the tables in another order than
 * the workers would meet them halfway, and one side would be ended as a deadlock.
 */
const KEEP_WORKERS_OUT = `
  do $$ begin
    if to_regclass('pipeline_offsets') is not null then lock table pipeline_offsets in exclusive mode; end if;
  end $$`;

/** True for what is no fault of the tables or the role: the connection, a lock, our own errors. */
function isPassing(error: unknown): boolean {
  const kind = classify(error);
  return kind !== "schema" && kind !== "content" && kind !== "access";
}

/** Others use the tables, so that they cannot be changed now. */
export class TablesInUse extends Error {
  override readonly name = "TablesInUse";
  readonly code = "55P03";
}

/** Names the session that has used the tables longest. */
async function tablesInUse(sql: Database, cause: unknown): Promise<TablesInUse> {
  const [user] = await sql<{ pid: number; application: string | null; seconds: number | null }[]>`
    select l.pid, a.application_name as application, extract(epoch from clock_timestamp() - a.xact_start)::int as seconds
    from pg_locks l left join pg_stat_activity a using (pid)
    where l.granted and l.pid <> pg_backend_pid()
      and l.database = (select oid from pg_database where datname = current_database())
      and l.relation in (
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = current_schema() and c.relkind in ('r', 'p'))
    order by a.xact_start limit 1`;
  const session =
    user === undefined
      ? "another session uses them"
      : `session ${user.pid} uses them ("${user.application ?? "?"}", in a transaction for ${user.seconds ?? "?"} s)`;
  return new TablesInUse(`the tables cannot be changed while ${session}`, { cause });
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
