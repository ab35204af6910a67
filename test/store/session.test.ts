import { describe, expect, test } from "bun:test";
import { applicationName, Session, type SessionRole } from "../../shared/store/session.ts";
import { classify, type FaultKind } from "../../shared/store/sqlstate.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { rejection } from "../support/rejection.ts";
import {
  ANY_DELAY_MS,
  backends,
  emptyDatabase,
  expectClock,
  GROUP,
  openSession,
} from "./pipeline-database.ts";

describe("the settings of a session", () => {
  const settings = async (role: SessionRole) => {
    await using database = await emptyDatabase();
    const session = await openSession(database, { role });
    const names = [
      "application_name",
      "synchronous_commit",
      "idle_in_transaction_session_timeout",
      "lock_timeout",
      "statement_timeout",
      "default_transaction_isolation",
      "TimeZone",
      "tcp_keepalives_idle",
      "client_encoding",
    ];
    const rows = await session.sql<{ name: string; value: string }[]>`
      select name, current_setting(name) as value from pg_settings where name = any(${`{${names.join()}}`}::text[])`;
    session.destroy();
    return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
  };
  const common = {
    default_transaction_isolation: "read committed",
    TimeZone: "UTC",
    tcp_keepalives_idle: "10",
    client_encoding: "UTF8",
  };
  const limits = {
    idle_in_transaction_session_timeout: "10s",
    lock_timeout: "10s",
    statement_timeout: "1min",
  };
  const unlimited = { idle_in_transaction_session_timeout: "0", lock_timeout: "0", statement_timeout: "0" };

  test.each<[role: SessionRole, expected: object]>([
    ["worker", { ...common, ...limits, synchronous_commit: "off" }],
    ["main", { ...common, ...limits, synchronous_commit: "on" }],
    ["check", { ...common, ...unlimited, synchronous_commit: "on" }],
  ])("match the role %s", async (role, expected) => {
    expect(await settings(role)).toEqual({
      ...expected,
      application_name: `event-pipeline ${role} ${GROUP}`,
    } as Record<string, string>);
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
    ["TLS where the server has none", { sslMode: "require" }, "connection"],
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
