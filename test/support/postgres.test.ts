import { expect, test } from "bun:test";
import { existsSync, statSync } from "node:fs";
import postgres from "postgres";
import { EmbeddedPostgres } from "../../shared/store/embedded-postgres.ts";
import { eventually } from "./eventually.ts";
import { isRunning } from "./process.ts";
import { startPostgres, type TestDatabase, sharedPostgres } from "./postgres.ts";
import { rejection } from "./rejection.ts";

test("a test database is empty, in UTF8 and the C locale, on PostgreSQL 18", async () => {
  const server = await sharedPostgres();
  await using first = await server.database();
  await using second = await server.database();
  await first.sql`CREATE TABLE only_here (id int)`;
  expect(await first.sql`SELECT to_regclass('only_here') IS NOT NULL AS there`).toMatchObject([
    { there: true },
  ]);
  expect(await second.sql`SELECT to_regclass('only_here') IS NOT NULL AS there`).toMatchObject([
    { there: false },
  ]);
  const [about] = await first.sql`
    SELECT current_setting('server_encoding') AS encoding, datcollate AS collation,
           current_setting('server_version_num')::int / 10000 AS version
    FROM pg_database WHERE datname = current_database()`;
  expect(about).toEqual({ encoding: "UTF8", collation: "C", version: 18 });
});

test("a prepared database is prepared once and then copied", async () => {
  const server = await sharedPostgres();
  let preparations = 0;
  const prepared = {
    name: "one table",
    async prepare({ sql }: TestDatabase) {
      preparations++;
      await sql`CREATE TABLE prepared (id int)`;
      await sql`INSERT INTO prepared VALUES (1)`;
    },
  };
  const databases = await Promise.all([server.database({ prepared }), server.database({ prepared })]);
  await using first = databases[0];
  await using second = databases[1];
  await first.sql`DELETE FROM prepared`;
  expect(await first.sql`SELECT * FROM prepared`).toHaveLength(0);
  expect(await second.sql`SELECT * FROM prepared`).toHaveLength(1);
  expect(preparations).toBe(1);
});

test("a wrong password is refused", async () => {
  await using database = await (await sharedPostgres()).database();
  const { host, port, user } = database.address;
  const stranger = postgres({ host, port, username: user, password: "wrong", database: database.name });
  try {
    expect(await rejection(stranger`SELECT 1`.execute())).toMatchObject({ code: "28P01" });
  } finally {
    await stranger.end({ timeout: 0 });
  }
});

test("the environment of a database connects to it", async () => {
  await using database = await (await sharedPostgres()).database();
  const { DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD } = database.env;
  const sql = postgres({
    host: DB_HOST!,
    port: Number(DB_PORT),
    username: DB_USER!,
    password: DB_PASSWORD!,
    database: DB_NAME!,
  });
  expect(await sql`SELECT current_database() AS name`).toMatchObject([{ name: database.name }]);
  await sql.end();
});

test("a crash loses asynchronous commits, keeps the others, and the server comes back on its port", async () => {
  await using server = await startPostgres({ settings: { wal_writer_delay: "10s" } });
  await using database = await server.database();
  const { sql } = database;
  await sql`CREATE TABLE kept (id int)`;
  await sql`INSERT INTO kept VALUES (1)`;
  await sql.begin(async (transaction) => {
    await transaction`SET LOCAL synchronous_commit = off`;
    await transaction`INSERT INTO kept VALUES (2)`;
  });
  expect(await sql`SELECT id FROM kept ORDER BY id`).toMatchObject([{ id: 1 }, { id: 2 }]);

  const before = server.pid;
  await server.stop("immediate");
  expect(server.pid).toBeUndefined();
  expect(await rejection(sql`SELECT 1`.execute())).toBeInstanceOf(Error);

  await server.start();
  expect(server.pid).not.toBe(before);
  expect(await sql`SELECT id FROM kept ORDER BY id`).toMatchObject([{ id: 1 }]);
  expect(await Bun.file(server.logPath).text()).toContain("database system was not properly shut down");
});

test("a fast stop loses no commit", async () => {
  await using server = await startPostgres({ settings: { wal_writer_delay: "10s" } });
  await using database = await server.database();
  await database.sql`CREATE TABLE kept (id int)`;
  await database.sql.begin(async (transaction) => {
    await transaction`SET LOCAL synchronous_commit = off`;
    await transaction`INSERT INTO kept VALUES (1)`;
  });
  await server.stop("fast");
  await server.start();
  expect(await database.sql`SELECT id FROM kept`).toHaveLength(1);
});

test("a stopped server answers nothing, neither on open connections nor on new ones, until it continues", async () => {
  await using server = await startPostgres();
  await using database = await server.database();
  await database.sql`SELECT 1`;
  await server.signal("STOP");
  const { host, port, user, password } = database.address;
  const late = postgres({ host, port, username: user, password, database: database.name });
  const answers = Promise.all([database.sql`SELECT 1 AS one`, late`SELECT 1 AS one`]);
  try {
    expect(await Promise.race([answers, Bun.sleep(300).then(() => "silence" as const)])).toBe("silence");
  } finally {
    await server.signal("CONT");
  }
  expect(await answers).toMatchObject([[{ one: 1 }], [{ one: 1 }]]);
  await late.end();
});

test("a server ends and its files are removed when the process that started it is killed", async () => {
  const script = `
    const { EmbeddedPostgres } = await import(${JSON.stringify(import.meta.resolve("../../shared/store/embedded-postgres.ts"))});
    const server = await EmbeddedPostgres.start();
    console.log(JSON.stringify({ pid: server.pid, directory: server.directory }));
    await Bun.sleep(60_000);`;
  const parent = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = new TextDecoder().decode((await parent.stdout.getReader().read()).value).split("\n");
  const { pid, directory }: { pid: number; directory: string } = JSON.parse(line!);
  expect(isRunning(pid)).toBe(true);
  expect(existsSync(directory)).toBe(true);
  parent.kill("SIGKILL");
  await eventually("the server has ended", () => !isRunning(pid));
  await eventually("its files are gone", () => !existsSync(directory));
});

test("the files of a stopped server are removed when the process that started it ends", async () => {
  const script = `
    const { EmbeddedPostgres } = await import(${JSON.stringify(import.meta.resolve("../../shared/store/embedded-postgres.ts"))});
    const server = await EmbeddedPostgres.start();
    await server.stop("fast");
    console.log(server.directory);`;
  const parent = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const directory = (await parent.stdout.text()).trim();
  expect(directory).toContain("event-pipeline-postgres-");
  await eventually("its files are gone", () => !existsSync(directory));
});

test("the user of PostgreSQL owns nothing but the data, so that it cannot redirect what its caller writes", async () => {
  await using server = await EmbeddedPostgres.start();
  for (const path of [server.directory, server.logPath]) {
    expect([path, statSync(path).uid]).toEqual([path, process.getuid!()]);
    expect([path, statSync(path).mode & 0o022]).toEqual([path, 0]);
  }
});

test("disposing ends the server and removes its files", async () => {
  let directory: string;
  let pid: number;
  {
    await using server = await EmbeddedPostgres.start();
    directory = server.directory;
    pid = server.pid!;
    await server.signal("STOP");
  }
  expect(isRunning(pid)).toBe(false);
  expect(existsSync(directory)).toBe(false);
});

test("a server that cannot start reports the reason", async () => {
  expect(
    (await rejection(EmbeddedPostgres.start({ settings: { shared_buffers: "nonsense" } }))).message,
  ).toMatch(/shared_buffers/);
});
