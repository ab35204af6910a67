// Tests migrations of tables that other sessions use, and programs that start on tables of a newer version.
import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FatalError } from "../../shared/runtime/errors.ts";
import { type Migrated, migrate, previewMigrations, TablesInUse } from "../../shared/store/migrate.ts";
import { type Migration, readMigrations } from "../../shared/store/migration-files.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { emptyDatabase, openSession, pipelineDatabase } from "./pipeline-database.ts";

function file(version: number, text: string, compatibleWith?: number): Migration {
  const checksum = new Bun.CryptoHasher("sha256").update(text).digest("hex");
  return { version, name: `00${version}_step.sql`, text, checksum, compatibleWith };
}

const ONE = file(1, "create table raw_events (n int)");
const TWO = file(2, "create table two (n int)");

async function run(
  database: TestDatabase,
  migrations: readonly Migration[],
  how = migrate,
): Promise<Migrated> {
  const session = await openSession(database, { role: "main" });
  try {
    return await how(session.sql, migrations);
  } finally {
    session.destroy();
  }
}

describe("a program that starts on tables of a newer version", () => {
  test("works with files that are compatible with what it knows, and names them", async () => {
    await using database = await emptyDatabase();
    const newer = [ONE, TWO, file(3, "create table three (n int)", 2), file(4, "select 1", 1)];
    await run(database, newer);
    const expected = { applied: [], newer: ["003_step.sql", "004_step.sql"] };
    expect(await run(database, [ONE, TWO])).toEqual(expected);
    expect(await run(database, [ONE, TWO], previewMigrations)).toEqual(expected);
    // It has left the history alone.
    expect(await run(database, newer)).toEqual({ applied: [], newer: [] });
  });

  test.each([
    ["is compatible with no earlier version", undefined],
    ["is compatible with a later version only", 3],
  ])("is refused where a file %s", async (_what, compatibleWith) => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO, file(3, "select 3", 2), file(4, "select 4", compatibleWith)]);
    const error = await rejection(run(database, [ONE, TWO]));
    expect(error).toBeInstanceOf(FatalError);
    expect(error.message).toBe(
      "the database has migration 004_step.sql, which this version does not know and cannot work with: " +
        "a newer version made it; start that version",
    );
  });

  test("finds out about it in a history that an earlier version has made", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE]);
    await database.sql`alter table pipeline_migrations drop column compatible_with`;
    expect(await run(database, [ONE])).toEqual({ applied: [], newer: [] });
    await run(database, [ONE, file(2, "select 2", 1)]);
    expect(await run(database, [ONE])).toEqual({ applied: [], newer: ["002_step.sql"] });
  });
});

describe("a file of sql/", () => {
  async function read(...texts: readonly string[]): Promise<Migration[]> {
    const folder = await mkdtemp(join(tmpdir(), "migrations-"));
    try {
      for (const [index, text] of texts.entries()) {
        await Bun.write(join(folder, `00${index + 1}_step.sql`), text);
      }
      return await readMigrations(folder);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("says in a line with which earlier programs it is compatible, or else with none", async () => {
    const files = await read(
      "select 1;",
      "-- Why.\n-- compatible with 001\nselect 2;",
      "-- A file compatible with all.",
    );
    expect(files.map(({ compatibleWith }) => compatibleWith)).toEqual([undefined, 1, undefined]);
  });

  test.each(["002", "003", "1", "001 and 002"])(
    "is refused where it is compatible with %s",
    async (number) => {
      await expect(read("select 1;", `-- compatible with ${number}\nselect 2;`)).rejects.toThrow(
        `sql/002_step.sql: "compatible with ${number}" must name an earlier file by its three digits`,
      );
    },
  );
});

/** Migrates like a consumer that starts: again and again while others use the tables. */
async function persist(database: TestDatabase, migrations: readonly Migration[]): Promise<Migrated> {
  for (;;) {
    try {
      return await run(database, migrations);
    } catch (error) {
      if (!(error instanceof TablesInUse)) throw error;
    }
  }
}

describe("a migration of tables that others use", () => {
  test("gives up soon, names the session, and leaves nothing behind; later it succeeds", async () => {
    await using database = await emptyDatabase();
    const files = [ONE, file(2, "create table two (n int); alter table raw_events add m int;")];
    await run(database, [ONE]);
    const { sql } = database;
    await sql.begin(async (reader) => {
      await reader`set local application_name = 'a long report'`;
      const [row] = await reader`select pg_backend_pid() as pid, count(*) from raw_events`;
      const error = await rejection(run(database, files));
      expect(error).toBeInstanceOf(TablesInUse);
      expect(error.message).toMatch(
        new RegExp(
          `^the tables cannot be changed while session ${row?.["pid"]} uses them \\("a long report", in a transaction for \\d+ s\\)$`,
        ),
      );
      // Nothing waits behind it any more.
      expect(await sql`select n from raw_events`).toHaveLength(0);
      expect(await sql`select to_regclass('two')::text as two`).toMatchObject([{ two: null }]);
    });
    expect(await run(database, files)).toEqual({ applied: ["002_step.sql"], newer: [] });
  });

  test("waits for a worker's transaction before it locks anything else, whatever its order", async () => {
    await using database = await pipelineDatabase();
    const { sql } = database;
    const known = await readMigrations();
    const text =
      "alter table dead_letter_events add column z integer; alter table pipeline_offsets add column z integer;";
    const next = { ...file(known.length + 1, text), name: "999_step.sql" };
    let migrating: Promise<Migrated> | undefined;
    await sql.begin(async (worker) => {
      await worker`select 1 from pipeline_offsets for update`;
      migrating = persist(database, [...known, next]);
      const held = await eventually("the migration waits for a table", async () => {
        const [row] = await sql`
          select array(
            select h.relation::regclass::text from pg_locks h
            where h.pid = w.pid and h.granted and h.mode = 'AccessExclusiveLock'
              and h.relation in (select oid from pg_class where relnamespace = 'public'::regnamespace)
          ) as tables
          from pg_locks w join pg_stat_activity a using (pid)
          where a.datname = current_database() and not w.granted and w.locktype = 'relation'`;
        return row?.["tables"] as string[] | undefined;
      });
      expect(held).toEqual([]);
    });
    expect(await migrating).toEqual({ applied: ["999_step.sql"], newer: [] });
  });
});
