import { describe, expect, test } from "bun:test";
import { applicationName, Session, type SessionRole } from "../../shared/store/session.ts";
import { classify, ConnectionLost } from "../../shared/store/sqlstate.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { PostgresServer, sharedPostgres, type TestDatabase } from "../support/postgres.ts";
import { GROUP, openSession } from "./pipeline-database.ts";

async function anyDatabase(): Promise<TestDatabase> {
  return await (await sharedPostgres()).database();
}

/** The backends of our sessions in this database. */
async function backends({ sql }: TestDatabase): Promise<number[]> {
  const rows = await sql<{ pid: number }[]>`
    select pid from pg_stat_activity where datname = current_database() and application_name like 'event-pipeline %'`;
  return rows.map(({ pid }) => pid);
}

async function terminate({ sql }: TestDatabase, pid: number): Promise<void> {
  await sql`select pg_terminate_backend(${pid})`;
}

const outcome = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "done",
    (error: unknown) => error,
  );

describe("a session's settings", () => {
  const settings = async (role: SessionRole) => {
    await using database = await anyDatabase();
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
  ])("of the role %s", async (role, expected) => {
    expect(await settings(role)).toEqual({
      ...expected,
      application_name: `event-pipeline ${role} ${GROUP}`,
    } as Record<string, string>);
  });

  test("the application's name fits, and tells groups apart, however long they are", () => {
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

test("counts and offsets come as numbers", async () => {
  await using database = await anyDatabase();
  const session = await openSession(database);
  expect(
    await session.sql`select count(*) as n, 9007199254740991::bigint as most from generate_series(1, 3)`,
  ).toMatchObject([{ n: 3, most: Number.MAX_SAFE_INTEGER }]);
  session.destroy();
});

describe("the database's clock", () => {
  test("is read on opening, and goes on by itself", async () => {
    await using database = await anyDatabase();
    const session = await openSession(database);
    const [{ now_ms }] = (await database.sql`
      select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`) as unknown as [
      { now_ms: number },
    ];
    expect(Math.abs(session.now() - now_ms)).toBeLessThan(5000);
    session.observeClock(1_000_000);
    const first = session.now();
    expect(first).toBeGreaterThanOrEqual(1_000_000);
    expect(first).toBeLessThan(1_005_000);
    await Bun.sleep(20);
    expect(session.now()).toBeGreaterThan(first + 10);
    session.destroy();
  });
});

describe("opening", () => {
  const failure = async (changes: object) => {
    await using database = await anyDatabase();
    return await Session.open(
      { ...database.config, ...changes },
      { role: "worker", consumerGroup: GROUP },
    ).then(
      () => "open",
      (error: unknown) => classify(error),
    );
  };

  test.each<[what: string, changes: object, kind: string]>([
    ["a wrong password", { password: "wrong" }, "access"],
    ["no such user", { user: "nobody_of_that_name" }, "access"],
    ["no such database", { name: "no_database_of_that_name" }, "access"],
    ["nobody listens", { port: 1 }, "connection"],
    ["no such host", { host: "no-such-host.invalid" }, "connection"],
    ["no such Unix socket", { host: "/no/such/directory" }, "connection"],
    ["TLS where the server has none", { sslMode: "require" }, "connection"],
  ])("%s: classified", async (_what, changes, kind) => {
    expect(await failure(changes)).toBe(kind);
  });

  test("at something that hangs up is given up at once: it does not call again and again", async () => {
    let calls = 0;
    using server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open(socket) {
          calls++;
          socket.end();
        },
        data() {},
      },
    });
    let lost = 0;
    await using database = await anyDatabase();
    const error = await outcome(
      Session.open(
        { ...database.config, port: server.port },
        { role: "worker", consumerGroup: GROUP, onLost: () => lost++ },
      ),
    );
    expect(classify(error)).toBe("connection");
    await throughout("it is not called again", 200, () => calls === 1);
    // What was never open cannot be lost.
    expect(lost).toBe(0);
  });

  test("leaves nothing open when it fails", async () => {
    await using database = await anyDatabase();
    await outcome(
      Session.open({ ...database.config, password: "wrong" }, { role: "worker", consumerGroup: GROUP }),
    );
    expect(await backends(database)).toEqual([]);
  });
});

describe("a transaction", () => {
  test("whose body throws is rolled back, and the session goes on", async () => {
    await using database = await anyDatabase();
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

  test("runs in the session's own backend, and commits", async () => {
    await using database = await anyDatabase();
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

describe("a connection that goes", () => {
  test("while idle is noticed, once, and is not renewed", async () => {
    await using database = await anyDatabase();
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    await terminate(database, session.backendPid);
    await eventually("the session knows", () => session.isLost);
    expect(lost).toBe(1);
    expect(await outcome(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
    expect(await outcome(session.transaction(1000, (tx) => tx`select 1`))).toBeInstanceOf(ConnectionLost);
    await throughout("no other backend appears", 200, async () => (await backends(database)).length === 0);
    session.destroy();
    expect(lost).toBe(1);
  });

  test("at any moment is never renewed: no statement runs in another backend, in or out of a transaction", async () => {
    await using database = await anyDatabase();
    await database.sql`create table ran (round int, pid int)`;
    const rounds = 25;
    let interrupted = 0;
    for (let round = 0; round < rounds; round++) {
      const session = await openSession(database);
      const insert = `insert into ran values (${round}, pg_backend_pid())`;
      const killing = Bun.sleep(round % 5).then(() => terminate(database, session.backendPid));
      const results: unknown[] = [];
      do {
        results.push(await outcome(session.run((sql) => sql.unsafe(insert))));
        results.push(
          await outcome(
            session.transaction(5000, async (tx) => {
              await tx.unsafe(insert);
              await tx.unsafe(insert);
            }),
          ),
        );
        // Also statements that are waiting for their turn when it happens.
        results.push(
          ...(await Promise.all([1, 2, 3].map(() => outcome(session.run((sql) => sql.unsafe(insert)))))),
        );
      } while (!session.isLost);
      await killing;
      const errors = results.filter((result) => result !== "done");
      if (errors.length > 0) interrupted++;
      expect(errors.map((error) => classify(error))).toEqual(errors.map(() => "connection"));
      const strangers =
        await database.sql`select * from ran where round = ${round} and pid <> ${session.backendPid}`;
      expect([...strangers]).toEqual([]);
      session.destroy();
    }
    expect(interrupted).toBe(rounds);
    expect(await backends(database)).toEqual([]);
  }, 30_000);

  test("in the middle of a transaction takes it along", async () => {
    await using database = await anyDatabase();
    await database.sql`create table t (n int)`;
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    const broken = session.transaction(5000, async (tx) => {
      await tx`insert into t values (1)`;
      await terminate(database, session.backendPid);
      await tx`insert into t values (2)`;
    });
    expect(classify(await outcome(broken))).toBe("connection");
    await eventually("the session knows", () => session.isLost);
    expect(lost).toBe(1);
    expect(await database.sql`select * from t`).toHaveLength(0);
    session.destroy();
  });

  test("is not lost when it is we who end it", async () => {
    await using database = await anyDatabase();
    let lost = 0;
    for (const end of ["close", "destroy"] as const) {
      const session = await openSession(database, { onLost: () => lost++ });
      await session[end]();
      expect(session.isLost).toBe(true);
      expect(await outcome(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
    }
    await eventually("both backends are gone", async () => (await backends(database)).length === 0);
    expect(lost).toBe(0);
  });

  test("with the whole server, by crash or by order, is noticed", async () => {
    await using server = await PostgresServer.start();
    await using database = await server.database();
    for (const mode of ["immediate", "fast"] as const) {
      let lost = 0;
      const session = await openSession(database, { onLost: () => lost++ });
      await server.stop(mode);
      await eventually("the session knows", () => session.isLost);
      expect(lost).toBe(1);
      await server.start();
      expect(await outcome(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
      session.destroy();
    }
  }, 30_000);
});

describe("a server that answers nothing", () => {
  test("is given up at the deadline: the socket is destroyed, and nothing is committed when it wakes", async () => {
    await using server = await PostgresServer.start();
    await using database = await server.database();
    await database.sql`create table t (n int)`;
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    const bystander = await openSession(database);
    const startedAt = performance.now();
    const stuck = session.transaction(700, async (tx) => {
      await tx`insert into t values (1)`;
      await server.signal("STOP");
      await tx`insert into t values (2)`;
    });
    const error = await outcome(stuck);
    expect(error).toBeInstanceOf(ConnectionLost);
    expect((error as ConnectionLost).message).toBe("PostgreSQL has not answered within 0.7 s");
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(session.isLost).toBe(true);
    expect(await outcome(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
    expect(lost).toBe(1);
    await server.signal("CONT");
    await eventually(
      "its backend has ended",
      async () => !(await backends(database)).includes(session.backendPid),
    );
    expect(await database.sql`select * from t`).toHaveLength(0);
    expect(await bystander.run((sql) => sql`select 1 as one`)).toMatchObject([{ one: 1 }]);
    bystander.destroy();
  }, 30_000);

  test("while it commits leaves the outcome open: it may be done when the server wakes", async () => {
    await using server = await PostgresServer.start();
    await using database = await server.database();
    await database.sql`create table t (n int)`;
    const session = await openSession(database);
    const stuck = session.transaction(700, async (tx) => {
      await tx`insert into t values (1)`;
      await server.signal("STOP");
    });
    expect(await outcome(stuck)).toBeInstanceOf(ConnectionLost);
    await server.signal("CONT");
    await eventually(
      "its backend has ended",
      async () => !(await backends(database)).includes(session.backendPid),
    );
    // The COMMIT was on its way before the socket was closed.
    expect(await database.sql`select n from t`).toMatchObject([{ n: 1 }]);
  }, 30_000);
});
