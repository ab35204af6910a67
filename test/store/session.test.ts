import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Session } from "../../shared/store/session.ts";
import { applicationName, type SessionRole } from "../../shared/store/session-settings.ts";
import { classify, type FaultKind } from "../../shared/store/sqlstate.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { rejection } from "../support/rejection.ts";
import { HOSTILE_SETTINGS, setHostileSettings } from "./hostile-settings.ts";
import { startPostgres, type TestDatabase } from "../support/postgres.ts";
import {
  ANY_DELAY_MS,
  backends,
  emptyDatabase,
  expectClock,
  GROUP,
  openSession,
} from "./pipeline-database.ts";

describe("the settings of a session", () => {
  const settings = async (role: SessionRole, prepare = async (_database: TestDatabase) => {}) => {
    await using database = await emptyDatabase();
    await prepare(database);
    const session = await openSession(database, { role });
    const names = ["application_name", "client_encoding", ...Object.keys(HOSTILE_SETTINGS)];
    const rows = await session.sql<{ name: string; value: string | null }[]>`
      select name, current_setting(name, true) as value from unnest(${`{${names.join()}}`}::text[]) as t (name)`;
    session.destroy();
    // Servers before version 17 have no transaction_timeout.
    const found: Record<string, string | null> = {};
    for (const { name, value } of rows) found[name] = value;
    found["transaction_timeout"] ??= "0";
    return found;
  };
  const common = {
    client_encoding: "UTF8",
    bytea_output: "hex",
    DateStyle: "ISO, MDY",
    TimeZone: "UTC",
    extra_float_digits: "1",
    standard_conforming_strings: "on",
    array_nulls: "on",
    default_transaction_isolation: "read committed",
    idle_session_timeout: "0",
    transaction_timeout: "0",
    tcp_keepalives_idle: "10",
    row_security: "off",
    synchronous_commit: "on",
    idle_in_transaction_session_timeout: "10s",
    lock_timeout: "10s",
    statement_timeout: "1min",
  };
  const roles: [role: SessionRole, expected: object][] = [
    ["worker", { synchronous_commit: "off" }],
    ["main", {}],
    ["check", { statement_timeout: "0", idle_in_transaction_session_timeout: "30s" }],
    ["console", { statement_timeout: "2s", lock_timeout: "1s" }],
  ];

  test.each(roles)("match the role %s", async (role, expected) => {
    expect(await settings(role)).toEqual({
      ...common,
      ...expected,
      application_name: `event-pipeline ${role} ${GROUP}`,
    });
  });

  test.each(roles)("match the role %s whatever the database has set", async (role, expected) => {
    expect(await settings(role, setHostileSettings)).toEqual({
      ...common,
      ...expected,
      application_name: `event-pipeline ${role} ${GROUP}`,
    });
  });

  test("are no parameters of the connection, which poolers refuse", async () => {
    const received = Promise.withResolvers<Buffer>();
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, bytes) {
          received.resolve(Buffer.from(bytes));
          socket.end();
        },
      },
    });
    await using database = await emptyDatabase();
    const config = { ...database.config, port: server.port, sslMode: "disable" as const };
    const opening = rejection(openSession({ config }));
    const message = await received.promise;
    await opening;
    // Behind the length and the version of the protocol: names and values.
    const parameters = message.subarray(8).toString().split("\0");
    expect(parameters.filter((_, index) => index % 2 === 0).filter(Boolean)).toEqual([
      "user",
      "database",
      "client_encoding",
      "application_name",
    ]);
  });

  test("include an application_name that fits and tells groups of any length apart", () => {
    const long = "x".repeat(100);
    const names = ["a", "b", long, `${long}y`, `${long}z`, "é".repeat(60)].map((group) =>
      applicationName("worker", group),
    );
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(applicationName("worker", long)).toBe(applicationName("worker", long));
    expect(applicationName("worker", long)).not.toBe(applicationName("main", long));
  });
});

test("a session returns counts and offsets as numbers", async () => {
  await using database = await emptyDatabase();
  const session = await openSession(database);
  expect(
    await session.sql`select count(*) as n, 9007199254740991::bigint as most from generate_series(1, 3)`,
  ).toMatchObject([{ n: 3, most: Number.MAX_SAFE_INTEGER }]);
  session.destroy();
});

describe("the clock of a session", () => {
  test("follows the database's clock from the opening on", async () => {
    await using database = await emptyDatabase();
    const session = await openSession(database);
    await expectClock(database, session);
    session.observeClock(1_000_000);
    const first = session.now();
    expect(first).toBeGreaterThanOrEqual(1_000_000);
    expect(first).toBeLessThan(1_000_000 + ANY_DELAY_MS);
    await eventually("the clock runs", () => session.now() > first);
    session.destroy();
  });
});

describe("opening a session", () => {
  const failure = async (changes: object) => {
    await using database = await emptyDatabase();
    return classify(
      await rejection(
        Session.open({ ...database.config, ...changes }, { role: "worker", consumerGroup: GROUP }),
      ),
    );
  };

  test.each<[what: string, changes: object, kind: FaultKind]>([
    ["wrong password", { password: "wrong" }, "access"],
    ["no such user", { user: "nobody_of_that_name" }, "access"],
    ["no such database", { name: "no_database_of_that_name" }, "access"],
    ["no listener", { port: 1 }, "connection"],
    ["no such host", { host: "no-such-host.invalid" }, "connection"],
    ["no such Unix socket", { host: "/no/such/directory" }, "connection"],
  ])("fails with the class of its cause: %s", async (_what, changes, kind) => {
    expect(await failure(changes)).toBe(kind);
  });

  test("fails at once, without another attempt, when the server hangs up", async () => {
    let connections = 0;
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open(socket) {
          connections++;
          socket.end();
        },
        data() {},
      },
    });
    let lost = 0;
    await using database = await emptyDatabase();
    const error = await rejection(
      Session.open(
        { ...database.config, port: server.port },
        { role: "worker", consumerGroup: GROUP, onLost: () => lost++ },
      ),
    );
    expect(classify(error)).toBe("connection");
    await throughout("there is one connection", 200, () => connections === 1);
    // A session that never opened is not lost.
    expect(lost).toBe(0);
  });

  test("fails with a sentence for a database in another encoding than UTF8", async () => {
    await using database = await emptyDatabase();
    const latin = `${database.name}_latin`;
    await database.sql.unsafe(`create database "${latin}" template template0 encoding 'LATIN1' locale 'C'`);
    const error = await rejection(openSession({ config: { ...database.config, name: latin } }));
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "access",
      says: expect.stringMatching(/^the database has the encoding LATIN1.*UTF8/),
    });
    await database.sql.unsafe(`drop database "${latin}" with (force)`);
  });

  test("reads the file with the password each time", async () => {
    await using database = await emptyDatabase();
    const user = `${database.name}_rotated`;
    const passwordFile = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "password");
    const open = () => openSession({ config: { ...database.config, user, password: "stale", passwordFile } });
    await database.sql.unsafe(`create role "${user}" login password 'first'`);
    await Bun.write(passwordFile, "first\n");
    (await open()).destroy();
    await database.sql.unsafe(`alter role "${user}" password 'second'`);
    expect(classify(await rejection(open()))).toBe("access");
    await Bun.write(passwordFile, "second\n");
    (await open()).destroy();
    rmSync(passwordFile);
    const error = await rejection(open());
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "access",
      says: expect.stringMatching(/^the file of DB_PASSWORD_FILE cannot be read: ENOENT/),
    });
  });

  test("runs the command for the password each time", async () => {
    await using database = await emptyDatabase();
    const user = `${database.name}_commanded`;
    const answer = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "answer");
    const passwordCommand = `cat ${answer}`;
    const open = () => openSession({ config: { ...database.config, user, password: "", passwordCommand } });
    await database.sql.unsafe(`create role "${user}" login password 'first'`);
    await Bun.write(answer, "first\n");
    (await open()).destroy();
    await database.sql.unsafe(`alter role "${user}" password 'second'`);
    expect(classify(await rejection(open()))).toBe("access");
    await Bun.write(answer, "second\n");
    (await open()).destroy();
    rmSync(answer);
    const error = await rejection(open());
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "access",
      says: expect.stringMatching(
        /^the command of DB_PASSWORD_COMMAND ended with exit code 1: .*No such file/,
      ),
    });
  });

  test("runs that command only where there is a server, and survives one that hangs up meanwhile", async () => {
    await using database = await emptyDatabase();
    const ran = join(mkdtempSync(join(tmpdir(), "pipeline-secret-")), "ran");
    const open = (port: number, passwordCommand: string) => {
      const config = { ...database.config, port, sslMode: "disable" as const, passwordCommand };
      return rejection(openSession({ config }));
    };
    expect(classify(await open(1, `touch ${ran}`))).toBe("connection");
    expect(existsSync(ran)).toBe(false);
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: (socket) => socket.terminate(), data() {} },
    });
    const error = await open(server.port, `touch ${ran}; sleep 0.2; echo secret`);
    expect(classify(error)).toBe("connection");
    expect(existsSync(ran)).toBe(true);
  });

  test("fails with a sentence for a role that may not connect", async () => {
    await using database = await emptyDatabase();
    const user = `${database.name}_outsider`;
    await database.sql.unsafe(`create role "${user}" login password 'p'`);
    await database.sql.unsafe(`revoke connect on database "${database.name}" from public`);
    const error = await rejection(openSession({ config: { ...database.config, user, password: "p" } }));
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "access",
      says: expect.stringMatching(/permission denied for database/),
    });
  });

  test.each<[role: SessionRole, opens: boolean]>([
    ["worker", false],
    ["main", false],
    ["check", true],
    ["console", true],
  ])(
    "waits for a database that can be written, as %s: opens %p while it is read-only",
    async (role, opens) => {
      await using database = await emptyDatabase();
      await database.sql.unsafe(`alter database "${database.name}" set default_transaction_read_only = on`);
      const opening = openSession(database, { role });
      if (opens) {
        (await opening).destroy();
      } else {
        const error = await rejection(opening);
        expect({ kind: classify(error), says: error.message }).toEqual({
          kind: "connection",
          says: expect.stringMatching(/^the database is read-only/),
        });
      }
    },
  );

  test("leaves a standby as a worker, and reads from it as a check", async () => {
    await using server = await startPostgres();
    await using database = await server.database();
    await server.stop("fast");
    await Bun.write(join(server.directory, "data/standby.signal"), "");
    await server.start();
    const error = await rejection(openSession(database));
    expect({ kind: classify(error), says: error.message }).toEqual({
      kind: "connection",
      says: expect.stringMatching(/^the server is a standby/),
    });
    (await openSession(database, { role: "check" })).destroy();
  });

  test("leaves no connection when it fails", async () => {
    await using database = await emptyDatabase();
    await rejection(
      Session.open({ ...database.config, password: "wrong" }, { role: "worker", consumerGroup: GROUP }),
    );
    expect(await backends(database)).toEqual([]);
  });
});

describe("a transaction of a session", () => {
  test("is rolled back when its body throws, and the session stays usable", async () => {
    await using database = await emptyDatabase();
    const session = await openSession(database);
    await session.sql`create table t (n int)`;
    const failing = session.transaction(5000, async (tx) => {
      await tx`insert into t values (1)`;
      throw new RangeError("no");
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(await session.transaction(5000, async (tx) => (await tx`select * from t`).count)).toBe(0);
    expect(session.isLost).toBe(false);
    session.destroy();
  });

  test("runs in the backend of the session and commits", async () => {
    await using database = await emptyDatabase();
    const session = await openSession(database);
    await session.sql`create table t (n int)`;
    const pid = await session.transaction(5000, async (tx) => {
      await tx`insert into t values (1)`;
      const [row] = await tx<[{ pid: number }]>`select pg_backend_pid() as pid`;
      return row.pid;
    });
    expect(pid).toBe(session.backendPid);
    expect(await database.sql`select n from t`).toMatchObject([{ n: 1 }]);
    session.destroy();
  });
});
