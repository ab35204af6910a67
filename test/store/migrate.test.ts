import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FatalError } from "../../shared/runtime/errors.ts";
import { type Migration, migrate, readMigrations } from "../../shared/store/migrate.ts";
import { sharedPostgres, type TestDatabase } from "../support/postgres.ts";
import { openSession } from "./pipeline-database.ts";

async function emptyDatabase(): Promise<TestDatabase> {
  return await (await sharedPostgres()).database();
}

function migration(version: number, text: string, name = `00${version}_step.sql`): Migration {
  return { version, name, text, checksum: new Bun.CryptoHasher("sha256").update(text).digest("hex") };
}

const ONE = migration(1, "create table one (n int); insert into one values (1);");
const TWO = migration(2, "create table two (n int);");
const THREE = migration(3, "create table three (n int);");

/** Migrates through a session of its own, as a program does when it starts. */
async function run(database: TestDatabase, migrations: readonly Migration[]): Promise<string[]> {
  const session = await openSession(database, { role: "main" });
  try {
    return await migrate(session.sql, migrations);
  } finally {
    session.destroy();
  }
}

async function refusal(database: TestDatabase, migrations: readonly Migration[]): Promise<string> {
  const before = await tables(database);
  const error = await run(database, migrations).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(FatalError);
  // Whatever it was, nothing of it was kept.
  expect(await tables(database)).toEqual(before);
  return (error as FatalError).message;
}

async function tables({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select c.relname as name from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1`;
  const names = rows.map(({ name }) => name);
  if (!names.includes("schema_migrations")) return names;
  const applied = await sql<{ version: number }[]>`select version from schema_migrations order by 1`;
  return [...names, ...applied.map(({ version }) => `applied ${version}`)];
}

describe("the files of sql/", () => {
  test("are applied to an empty database, once", async () => {
    await using database = await emptyDatabase();
    const migrations = await readMigrations();
    const names = migrations.map(({ name }) => name);
    expect(names[0]).toBe("001_initial.sql");
    expect(await run(database, migrations)).toEqual(names);
    const after = await tables(database);
    expect(after).toContain("raw_events");
    expect(await run(database, migrations)).toEqual([]);
    expect(await tables(database)).toEqual(after);
  });

  test("give every text key the order of its bytes, and every time its zone", async () => {
    await using database = await emptyDatabase();
    await run(database, await readMigrations());
    const others = await database.sql`
      select c.relname, a.attname from pg_index i
        join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
      where a.atttypid = 'text'::regtype and a.attcollation <> '"C"'::regcollation and c.relname <> 'schema_migrations'
      union all
      select table_name, column_name from information_schema.columns
      where table_schema = 'public' and data_type = 'timestamp without time zone'`;
    expect([...others]).toEqual([]);
  });
});

describe("migrating", () => {
  test("applies what is missing, in order", async () => {
    await using database = await emptyDatabase();
    expect(await run(database, [ONE])).toEqual([ONE.name]);
    expect(await run(database, [ONE, TWO, THREE])).toEqual([TWO.name, THREE.name]);
    expect(await tables(database)).toEqual([
      "one",
      "schema_migrations",
      "three",
      "two",
      "applied 1",
      "applied 2",
      "applied 3",
    ]);
  });

  test("from five connections at once applies each file once", async () => {
    await using database = await emptyDatabase();
    const slow = migration(1, `${ONE.text} select pg_sleep(0.2);`);
    const applied = await Promise.all([1, 2, 3, 4, 5].map(() => run(database, [slow, TWO])));
    expect(applied.toSorted((a, b) => b.length - a.length)).toEqual([[slow.name, TWO.name], [], [], [], []]);
    expect(await database.sql`select n from one`).toHaveLength(1);
  });

  test("waits for another one beyond the session's own limits", async () => {
    await using database = await emptyDatabase();
    const session = await openSession(database, { role: "main" });
    await session.sql`set lock_timeout = '50ms'`;
    await session.sql`set statement_timeout = '50ms'`;
    const slow = migration(1, `${ONE.text} select pg_sleep(0.5);`);
    const applied = await Promise.all([run(database, [slow]), migrate(session.sql, [slow])]);
    expect(applied.flat()).toEqual([slow.name]);
    expect(await session.sql`show lock_timeout`).toMatchObject([{ lock_timeout: "50ms" }]);
    session.destroy();
  });
});

describe("a database that was changed by other hands is refused, and stays as it is", () => {
  test("a file that was changed after it was applied", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO]);
    expect(await refusal(database, [migration(1, `${ONE.text} -- mended`), TWO, THREE])).toContain(
      "sql/001_step.sql was changed after it was applied",
    );
  });

  test("tables that were made by hand", async () => {
    await using database = await emptyDatabase();
    await database.sql`create table two (n int)`;
    expect(await refusal(database, [ONE, TWO, THREE])).toMatch(
      /^sql\/002_step.sql cannot be applied: .*already exists.*It was rolled back/,
    );
    expect(await tables(database)).toEqual(["two"]);
  });

  test("a file of which a part was applied by hand", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE]);
    await database.sql`create table b (n int)`;
    const half = migration(2, "create table a (n int); create table b (n int); create table c (n int);");
    expect(await refusal(database, [ONE, half])).toContain('relation "b" already exists');
  });

  test("a newer version's", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO]);
    expect(await refusal(database, [ONE])).toContain("a newer version made it");
  });

  test("a row of schema_migrations that is gone, the first, one between, the last", async () => {
    for (const [version, message] of [
      [1, "has a row for 002_step.sql but none for 001_step.sql"],
      [2, "has a row for 003_step.sql but none for 002_step.sql"],
      [3, "sql/003_step.sql cannot be applied"],
    ] as const) {
      await using database = await emptyDatabase();
      await run(database, [ONE, TWO, THREE]);
      await database.sql`delete from schema_migrations where version = ${version}`;
      expect(await refusal(database, [ONE, TWO, THREE])).toContain(message);
    }
  });

  test("a file that fails keeps nothing of the ones before it either", async () => {
    await using database = await emptyDatabase();
    const wrong = migration(2, "create table fine (n int); select 1 / 0;");
    expect(await refusal(database, [ONE, wrong])).toContain(
      "sql/002_step.sql cannot be applied: division by zero (22012)",
    );
    expect(await tables(database)).toEqual([]);
  });
});

describe("the names of the files", () => {
  async function namesRead(...names: string[]) {
    const folder = await mkdtemp(join(tmpdir(), "migrations-"));
    try {
      await Promise.all(names.map((name) => Bun.write(join(folder, name), `-- ${name}`)));
      return (await readMigrations(folder)).map(({ version, name, text }) => ({ version, name, text }));
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("are numbered without a gap, and read in order", async () => {
    expect(await namesRead("002_b.sql", "001_a.sql", "README.md")).toEqual([
      { version: 1, name: "001_a.sql", text: "-- 001_a.sql" },
      { version: 2, name: "002_b.sql", text: "-- 002_b.sql" },
    ]);
  });

  test.each([
    [["002_a.sql"]],
    [["001_a.sql", "003_b.sql"]],
    [["001_a.sql", "001_b.sql"]],
    [["1_a.sql"]],
    [["001-a.sql"]],
    [["001_A.sql"]],
  ])("%j: refused", async (names) => {
    await expect(namesRead(...names)).rejects.toThrow(/expected a name that begins with 00[12]_/);
  });
});
