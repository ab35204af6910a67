import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FatalError } from "../../shared/runtime/errors.ts";
import { migrate } from "../../shared/store/migrate.ts";
import { type Migration, readMigrations } from "../../shared/store/migration-files.ts";
import { eventually, throughout } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { emptyDatabase, openSession } from "./pipeline-database.ts";

function migration(version: number, text: string, name = `00${version}_step.sql`): Migration {
  return { version, name, text, checksum: new Bun.CryptoHasher("sha256").update(text).digest("hex") };
}

const ONE = migration(1, "create table one (n int); insert into one values (1);");
const TWO = migration(2, "create table two (n int);");
const THREE = migration(3, "create table three (n int);");

/** Migrates through a new session, like a program that starts. */
async function run(
  database: Pick<TestDatabase, "config">,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  const session = await openSession(database, { role: "main" });
  try {
    return (await migrate(session.sql, migrations)).applied;
  } finally {
    session.destroy();
  }
}

async function refusal(database: TestDatabase, migrations: readonly Migration[]): Promise<string> {
  const before = await tables(database);
  const error = await rejection(run(database, migrations));
  expect(error).toBeInstanceOf(FatalError);
  // The refused migration leaves nothing behind.
  expect(await tables(database)).toEqual(before);
  return error.message;
}

async function tables({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select c.relname as name from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1`;
  const names = rows.map(({ name }) => name);
  if (!names.includes("pipeline_migrations")) return names;
  const applied = await sql<{ version: number }[]>`select version from pipeline_migrations order by 1`;
  return [...names, ...applied.map(({ version }) => `applied ${version}`)];
}

/** Takes an advisory lock that a migration waits for, until `open()`. */
async function holdAdvisoryLock({ sql }: TestDatabase) {
  const key = 1;
  const lock = await sql.reserve();
  await lock`select pg_advisory_lock(${key})`;
  const open = async (): Promise<void> => {
    await lock`select pg_advisory_unlock_all()`;
  };
  return {
    key,
    open,
    async [Symbol.asyncDispose]() {
      await open();
      lock.release();
    },
  };
}

describe("the migrations of sql/", () => {
  test("are applied to an empty database once", async () => {
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

  test("give every text key the order of its bytes, and every timestamp a zone", async () => {
    await using database = await emptyDatabase();
    await run(database, await readMigrations());
    const others = await database.sql`
      select c.relname, a.attname from pg_index i
        join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
      where a.atttypid = 'text'::regtype and a.attcollation <> '"C"'::regcollation and c.relname <> 'pipeline_migrations'
      union all
      select table_name, column_name from information_schema.columns
      where table_schema = 'public' and data_type = 'timestamp without time zone'`;
    expect([...others]).toEqual([]);
  });
});

describe("migrate", () => {
  test("applies the missing migrations in order", async () => {
    await using database = await emptyDatabase();
    expect(await run(database, [ONE])).toEqual([ONE.name]);
    expect(await run(database, [ONE, TWO, THREE])).toEqual([TWO.name, THREE.name]);
    expect(await tables(database)).toEqual([
      "one",
      "pipeline_migrations",
      "three",
      "two",
      "applied 1",
      "applied 2",
      "applied 3",
    ]);
  });

  test("applies each migration once from five connections at once", async () => {
    await using database = await emptyDatabase();
    const slow = migration(1, `${ONE.text} select pg_sleep(0.2);`);
    const applied = await Promise.all([1, 2, 3, 4, 5].map(() => run(database, [slow, TWO])));
    expect(applied.toSorted((a, b) => b.length - a.length)).toEqual([[slow.name, TWO.name], [], [], [], []]);
    expect(await database.sql`select n from one`).toHaveLength(1);
  });

  test("waits for another migration beyond the session's time limits", async () => {
    await using database = await emptyDatabase();
    const session = await openSession(database, { role: "main" });
    await session.sql`set lock_timeout = '50ms'`;
    await session.sql`set statement_timeout = '50ms'`;
    await using gate = await holdAdvisoryLock(database);
    const slow = migration(1, `${ONE.text} select pg_advisory_xact_lock(${gate.key});`);
    const waiting = (count: number) => async () => {
      const rows = await database.sql`
        select 1 from pg_stat_activity where datname = current_database() and wait_event = 'advisory'`;
      return rows.length === count;
    };
    const first = run(database, [slow]);
    await eventually("the first one is in its migration", waiting(1));
    const second = migrate(session.sql, [slow]);
    await eventually("the second one waits for the first", waiting(2));
    await throughout("it waits beyond its limits", 200, waiting(2));
    await gate.open();
    expect([await first, (await second).applied]).toEqual([[slow.name], []]);
    expect(await session.sql`show lock_timeout`).toMatchObject([{ lock_timeout: "50ms" }]);
    session.destroy();
  });
});

/** A login without any right, and how it migrates. */
async function outsider(database: TestDatabase) {
  const user = `${database.name}_outsider`;
  await database.sql.unsafe(`create role "${user}" login password 'p'`);
  return { user, config: { ...database.config, user, password: "p" } };
}

describe("a role without all rights", () => {
  test("starts on tables that are up to date", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO]);
    const login = await outsider(database);
    await database.sql.unsafe(`grant select on pipeline_migrations to "${login.user}"`);
    expect(await run(login, [ONE, TWO])).toEqual([]);
  });

  test.each<[what: string, prepare: (user: string) => string, says: (user: string) => string]>([
    [
      "create tables",
      () => "select 1",
      (user) =>
        `the table pipeline_migrations cannot be created: permission denied for schema public (42501). ` +
        `Role "${user}" may not create tables in schema "public": GRANT CREATE ON SCHEMA "public" TO "${user}"`,
    ],
    [
      "use a schema",
      () => "revoke all on schema public from public",
      (user) =>
        `Role "${user}" may use no schema of its search_path: GRANT USAGE, CREATE ON SCHEMA public TO "${user}"`,
    ],
  ])("is told which right it lacks to %s", async (_what, prepare, says) => {
    await using database = await emptyDatabase();
    const login = await outsider(database);
    await database.sql.unsafe(prepare(login.user));
    const error = await rejection(run(login, [ONE]));
    expect(error).toBeInstanceOf(FatalError);
    expect(error.message).toContain(says(login.user));
  });

  test("is told who owns the tables that a new file changes, or which right is missing to read the history", async () => {
    await using database = await emptyDatabase();
    const first = migration(1, "create table raw_events (n int);");
    await run(database, [first]);
    const login = await outsider(database);
    expect((await rejection(run(login, [first]))).message).toBe(
      `role "${login.user}" lacks the right to SELECT on pipeline_migrations: as the owner of the tables, ` +
        `GRANT SELECT ON pipeline_migrations TO "${login.user}"`,
    );
    await database.sql.unsafe(`grant select, insert on all tables in schema public to "${login.user}"`);
    await database.sql.unsafe(`grant create on schema public to "${login.user}"`);
    const error = await rejection(run(login, [first, migration(2, "alter table raw_events add m int;")]));
    const owner = database.config.user;
    expect(error.message).toBe(
      `sql/002_step.sql cannot be applied: must be owner of table raw_events (42501). It was rolled back. ` +
        `The tables belong to role "${owner}": start this version once with DB_USER=${owner}`,
    );
  });
});

describe("a table schema_migrations", () => {
  const COLUMNS = "version integer primary key, name text not null, checksum text not null";
  const OURS = `create table schema_migrations (${COLUMNS}, applied_at timestamptz not null default now())`;

  test("of an earlier version becomes pipeline_migrations, once, and its name is free again", async () => {
    await using database = await emptyDatabase();
    await database.sql.unsafe(`${OURS}; ${ONE.text}`);
    await database.sql`insert into schema_migrations ${database.sql([{ version: 1, name: ONE.name, checksum: ONE.checksum }])}`;
    expect(await run(database, [ONE, TWO])).toEqual([TWO.name]);
    expect(await tables(database)).toEqual(["one", "pipeline_migrations", "two", "applied 1", "applied 2"]);
    // Another program may use the name now.
    await database.sql.unsafe("create table schema_migrations (version varchar(255) primary key)");
    expect(await run(database, [ONE, TWO])).toEqual([]);
  });

  test.each([
    [
      "of Rails",
      "create table schema_migrations (version varchar(255) primary key)",
      "values ('20240101000000')",
    ],
    [
      "of golang-migrate",
      "create table schema_migrations (version bigint primary key, dirty boolean)",
      "values (1, false)",
    ],
    ["with our columns and other files", OURS, "values (1, '001_users.sql', 'c')"],
    ["with our columns and no row", OURS, "select 1, 'x', 'c' where false"],
  ])("%s is left alone", async (_whose, create, rows) => {
    await using database = await emptyDatabase();
    await database.sql.unsafe(`${create}; insert into schema_migrations ${rows}`);
    const before = await database.sql`select * from schema_migrations`;
    expect(await run(database, [ONE])).toEqual([ONE.name]);
    expect([...(await database.sql`select * from schema_migrations`)]).toEqual([...before]);
    expect(await tables(database)).toEqual(["one", "pipeline_migrations", "schema_migrations", "applied 1"]);
  });

  test("of another program that may not be read is left alone", async () => {
    await using database = await emptyDatabase();
    await database.sql.unsafe("create table schema_migrations (version varchar(255) primary key)");
    const login = await outsider(database);
    await database.sql.unsafe(`grant create on schema public to "${login.user}"`);
    expect(await run(login, [ONE])).toEqual([ONE.name]);
  });
});

describe("a changed database", () => {
  test("is refused unchanged when a file was changed after it was applied", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO]);
    expect(await refusal(database, [migration(1, `${ONE.text} -- fixed`), TWO, THREE])).toContain(
      "sql/001_step.sql was changed after it was applied",
    );
  });

  test("is accepted where only the line ends of a file differ, now or when it was applied", async () => {
    await using database = await emptyDatabase();
    const lines = migration(1, "create table one (n int);\ninsert into one values (1);\n");
    const withCr = migration(1, lines.text.replaceAll("\n", "\r\n"));
    await run(database, [lines]);
    await database.sql`update pipeline_migrations set checksum = ${withCr.checksum}`;
    expect(await run(database, [lines])).toEqual([]);
  });

  test("is refused unchanged when its tables were created by hand", async () => {
    await using database = await emptyDatabase();
    await database.sql`create table two (n int)`;
    expect(await refusal(database, [ONE, TWO, THREE])).toMatch(
      /^sql\/002_step.sql cannot be applied: .*already exists.*It was rolled back/,
    );
    expect(await tables(database)).toEqual(["two"]);
  });

  test("is refused unchanged when a file was partly applied by hand", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE]);
    await database.sql`create table b (n int)`;
    const half = migration(2, "create table a (n int); create table b (n int); create table c (n int);");
    expect(await refusal(database, [ONE, half])).toContain('relation "b" already exists');
  });

  test("is refused unchanged when a newer version made it", async () => {
    await using database = await emptyDatabase();
    await run(database, [ONE, TWO]);
    expect(await refusal(database, [ONE])).toContain("a newer version made it");
  });

  test("is refused unchanged when a row of pipeline_migrations is missing", async () => {
    for (const [version, message] of [
      [1, "has a row for 002_step.sql but none for 001_step.sql"],
      [2, "has a row for 003_step.sql but none for 002_step.sql"],
      [3, "sql/003_step.sql cannot be applied"],
    ] as const) {
      await using database = await emptyDatabase();
      await run(database, [ONE, TWO, THREE]);
      await database.sql`delete from pipeline_migrations where version = ${version}`;
      expect(await refusal(database, [ONE, TWO, THREE])).toContain(message);
    }
  });

  test("is rolled back to its state before the first file when a file fails", async () => {
    await using database = await emptyDatabase();
    const wrong = migration(2, "create table fine (n int); select 1 / 0;");
    expect(await refusal(database, [ONE, wrong])).toContain(
      "sql/002_step.sql cannot be applied: division by zero (22012)",
    );
    expect(await tables(database)).toEqual([]);
  });
});

describe("the tables of a database that has data", () => {
  test("keep the offsets when gaps are told from deleted offsets: what was skipped counts as deleted", async () => {
    await using database = await emptyDatabase();
    const migrations = await readMigrations();
    await run(database, migrations.slice(0, 1));
    const { sql } = database;
    await sql`insert into pipeline_offsets (topic, topic_id, "partition", first_offset, next_offset, consumed, skipped, stored)
      values ('t', 'id', 0, 5, 25, 13, 7, 13)`;
    await sql`insert into dead_letter_events values ('t', 'id', 0, 6, null, null, null, 'decode', 'tombstone', '', now(), 1)`;
    await run(database, migrations);
    expect(
      await sql`select next_offset::int, deleted::int, gaps::int, reading, closed_at, leader_epoch from pipeline_offsets`,
    ).toMatchObject([
      { next_offset: 25, deleted: 7, gaps: 0, reading: 0, closed_at: null, leader_epoch: null },
    ]);
    expect(await sql`select "offset"::int, reading from dead_letter_events`).toMatchObject([
      { offset: 6, reading: 0 },
    ]);
  });
});

describe("the names of migrations", () => {
  async function namesRead(...names: string[]) {
    const folder = await mkdtemp(join(tmpdir(), "migrations-"));
    try {
      await Promise.all(names.map((name) => Bun.write(join(folder, name), `-- ${name}`)));
      return (await readMigrations(folder)).map(({ version, name, text }) => ({ version, name, text }));
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("are numbered without gaps and read in order", async () => {
    expect(await namesRead("002_b.sql", "001_a.sql", "README.md")).toEqual([
      { version: 1, name: "001_a.sql", text: "-- 001_a.sql" },
      { version: 2, name: "002_b.sql", text: "-- 002_b.sql" },
    ]);
  });

  test("come with the same text and checksum whatever the line ends of the checkout", async () => {
    const folders = await Promise.all(
      ["\n", "\r\n"].map(async (end) => {
        const folder = await mkdtemp(join(tmpdir(), "migrations-"));
        await Bun.write(join(folder, "001_a.sql"), `select 1;${end}select 2;${end}`);
        return folder;
      }),
    );
    const [unix, windows] = await Promise.all(folders.map((folder) => readMigrations(folder)));
    expect(windows).toEqual(unix);
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
  });

  test.each([
    [["002_a.sql"]],
    [["001_a.sql", "003_b.sql"]],
    [["001_a.sql", "001_b.sql"]],
    [["1_a.sql"]],
    [["001-a.sql"]],
    [["001_A.sql"]],
  ])("are refused: %j", async (names) => {
    await expect(namesRead(...names)).rejects.toThrow(/expected a name that begins with 00[12]_/);
  });
});
