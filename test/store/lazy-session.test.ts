import { expect, test } from "bun:test";
import { LazySession } from "../../shared/store/lazy-session.ts";
import { ConnectionLost } from "../../shared/store/sqlstate.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { rejection } from "../support/rejection.ts";
import { backends, emptyDatabase, GROUP } from "./pipeline-database.ts";

function lazySession(database: TestDatabase, idleMs?: number) {
  const changes: number[] = [];
  const session = new LazySession({
    database: database.config,
    role: "console",
    consumerGroup: GROUP,
    onChange: (connections) => changes.push(connections),
    ...(idleMs === undefined ? {} : { idleMs }),
  });
  return { session, changes };
}

async function countBackends(database: TestDatabase): Promise<number> {
  return (await backends(database)).length;
}

test("a lazy session opens one connection for all callers, at the first use", async () => {
  await using database = await emptyDatabase();
  const { session, changes } = lazySession(database);
  expect(await countBackends(database)).toBe(0);
  const [first, second] = await Promise.all([session.open(), session.open()]);
  expect(second).toBe(first);
  expect(await session.open()).toBe(first);
  expect(await countBackends(database)).toBe(1);
  expect(changes).toEqual([1]);
  await session.close();
  expect(changes).toEqual([1, 0]);
});

test("a lazy session that is lost is replaced at the next use", async () => {
  await using database = await emptyDatabase();
  const { session, changes } = lazySession(database);
  const lost = await session.open();
  await database.sql`select pg_terminate_backend(${lost.backendPid})`;
  await eventually("the loss is noticed", () => lost.isLost);
  expect(changes).toEqual([1, 0]);
  const next = await session.open();
  expect(next.backendPid).not.toBe(lost.backendPid);
  expect(await next.run((sql) => sql`select 1 as one`)).toMatchObject([{ one: 1 }]);
  expect(changes).toEqual([1, 0, 1]);
  await session.close();
});

test("a lazy session closes when it is idle, and opens again at the next use", async () => {
  await using database = await emptyDatabase();
  const { session, changes } = lazySession(database, 1);
  await session.open();
  await eventually("the idle connection is closed", () => changes.at(-1) === 0);
  await eventually("its backend has ended", async () => (await countBackends(database)) === 0);
  await session.open();
  expect(changes.slice(0, 3)).toEqual([1, 0, 1]);
  await session.close();
});

test("a lazy session that is closed leaves no connection, not even one that was being opened", async () => {
  await using database = await emptyDatabase();
  const { session, changes } = lazySession(database);
  const opening = session.open();
  await session.close();
  expect((await opening).isLost).toBe(true);
  expect(changes).toEqual([1, 0]);
  await eventually("its backend has ended", async () => (await countBackends(database)) === 0);
  expect(await rejection(session.open())).toBeInstanceOf(ConnectionLost);
});

test("a lazy session that cannot open tries again at the next use", async () => {
  await using database = await emptyDatabase();
  const config = { ...database.config, password: "wrong" };
  const session = new LazySession({ database: config, role: "console", consumerGroup: GROUP });
  expect(await rejection(session.open())).toBeInstanceOf(Error);
  Object.assign(config, { password: database.config.password });
  expect((await session.open()).isLost).toBe(false);
  await session.close();
});
