import { describe, expect, test } from "bun:test";
import { classify, ConnectionLost } from "../../shared/store/sqlstate.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { startPostgres, type TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { backends, emptyDatabase, openSession } from "./pipeline-database.ts";

/** "done", or the error. */
function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => "done",
    (error: unknown) => error,
  );
}

async function terminate({ sql }: TestDatabase, pid: number): Promise<void> {
  await sql`select pg_terminate_backend(${pid})`;
}

describe("a connection that is lost", () => {
  test("is reported once while idle, and not renewed", async () => {
    await using database = await emptyDatabase();
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    await terminate(database, session.backendPid);
    await eventually("the session knows", () => session.isLost);
    expect(lost).toBe(1);
    expect(await rejection(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
    expect(await rejection(session.transaction(1000, (tx) => tx`select 1`))).toBeInstanceOf(ConnectionLost);
    await throughout("no other backend appears", 200, async () => (await backends(database)).length === 0);
    session.destroy();
    expect(lost).toBe(1);
  });

  test("is never renewed: no statement runs in another backend, at any moment", async () => {
    await using database = await emptyDatabase();
    await database.sql`create table ran (round int, pid int)`;
    const rounds = 25;
    let interrupted = 0;
    for (let round = 0; round < rounds; round++) {
      const session = await openSession(database);
      const insert = `insert into ran values (${round}, pg_backend_pid())`;
      const killing = Bun.sleep(round % 5).then(() => terminate(database, session.backendPid));
      const results: unknown[] = [];
      do {
        results.push(await outcomeOf(session.run((sql) => sql.unsafe(insert))));
        results.push(
          await outcomeOf(
            session.transaction(5000, async (tx) => {
              await tx.unsafe(insert);
              await tx.unsafe(insert);
            }),
          ),
        );
        // Some statements wait in the driver's queue when the connection is lost.
        results.push(
          ...(await Promise.all([1, 2, 3].map(() => outcomeOf(session.run((sql) => sql.unsafe(insert)))))),
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

  test("rolls back its transaction", async () => {
    await using database = await emptyDatabase();
    await database.sql`create table t (n int)`;
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    const broken = session.transaction(5000, async (tx) => {
      await tx`insert into t values (1)`;
      await terminate(database, session.backendPid);
      await tx`insert into t values (2)`;
    });
    expect(classify(await rejection(broken))).toBe("connection");
    await eventually("the session knows", () => session.isLost);
    expect(lost).toBe(1);
    expect(await database.sql`select * from t`).toHaveLength(0);
    session.destroy();
  });

  test("is not reported when its owner ends it", async () => {
    await using database = await emptyDatabase();
    let lost = 0;
    for (const end of ["close", "destroy"] as const) {
      const session = await openSession(database, { onLost: () => lost++ });
      await session[end]();
      expect(session.isLost).toBe(true);
      expect(await rejection(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
    }
    await eventually("both backends are gone", async () => (await backends(database)).length === 0);
    expect(lost).toBe(0);
  });

  test("is reported when the server crashes or shuts down", async () => {
    await using server = await startPostgres();
    await using database = await server.database();
    for (const mode of ["immediate", "fast"] as const) {
      let lost = 0;
      const session = await openSession(database, { onLost: () => lost++ });
      await server.stop(mode);
      await eventually("the session knows", () => session.isLost);
      expect(lost).toBe(1);
      await server.start();
      expect(await rejection(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
      session.destroy();
    }
  }, 30_000);
});

describe("a server that does not answer", () => {
  test("loses the session at the deadline, and commits nothing when it resumes", async () => {
    await using server = await startPostgres();
    await using database = await server.database();
    await database.sql`create table t (n int)`;
    let lost = 0;
    const session = await openSession(database, { onLost: () => lost++ });
    const bystander = await openSession(database);
    const stuck = session.transaction(700, async (tx) => {
      await tx`insert into t values (1)`;
      await server.signal("STOP");
      await tx`insert into t values (2)`;
    });
    const error = await rejection(stuck);
    expect(error).toBeInstanceOf(ConnectionLost);
    expect(error.message).toBe("PostgreSQL has not answered within 0.7 s");
    expect(session.isLost).toBe(true);
    expect(await rejection(session.run((sql) => sql`select 1`))).toBeInstanceOf(ConnectionLost);
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

  test("leaves the outcome of a COMMIT open: it may have happened when the server resumes", async () => {
    await using server = await startPostgres();
    await using database = await server.database();
    await database.sql`create table t (n int)`;
    const session = await openSession(database);
    // Long enough for the COMMIT to leave before it, on any machine.
    const stuck = session.transaction(3000, async (tx) => {
      await tx`insert into t values (1)`;
      await server.signal("STOP");
    });
    expect(await rejection(stuck)).toBeInstanceOf(ConnectionLost);
    await server.signal("CONT");
    await eventually(
      "its backend has ended",
      async () => !(await backends(database)).includes(session.backendPid),
    );
    // The COMMIT was sent before the socket was closed.
    expect(await database.sql`select n from t`).toMatchObject([{ n: 1 }]);
  }, 30_000);
});
