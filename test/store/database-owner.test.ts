import { describe, expect, test } from "bun:test";
import { FatalError } from "../../shared/runtime/errors.ts";
import { assertStillOurs, claimDatabase, endStuckPeers } from "../../shared/store/database-owner.ts";
import type { Session } from "../../shared/store/session.ts";
import type { SessionRole } from "../../shared/store/session-settings.ts";
import { Store } from "../../shared/store/store.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { eventText } from "../pipeline/record.ts";
import { rejection } from "../support/rejection.ts";
import {
  ledgerOf,
  batchFrom,
  expectProven,
  freshStore,
  openSession,
  openStore,
  pipelineDatabase,
  rowCounts,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

describe("the owner of a database", () => {
  const open = (database: TestDatabase, consumerGroup: string, role: SessionRole = "main") =>
    openSession(database, { role, consumerGroup });
  const claim = (session: Session, group: string) => claimDatabase(session.sql, group);

  test("is the first group to claim the database", async () => {
    await using database = await pipelineDatabase();
    const session = await open(database, "first");
    expect(await claim(session, "first")).toEqual({ previousGroup: undefined });
    expect(await claim(session, "first")).toEqual({ previousGroup: undefined });
    await assertStillOurs(session.sql, "first");
    expect(await database.sql`select consumer_group from pipeline_state`).toMatchObject([
      { consumer_group: "first" },
    ]);
    session.destroy();
  });

  test.each<SessionRole>(["main", "worker"])(
    "keeps other groups out while its %s is connected",
    async (role) => {
      await using database = await pipelineDatabase();
      const first = await open(database, "first", role);
      await claim(first, "first");
      const second = await open(database, "second");
      const refusal = await rejection(claim(second, "second"));
      expect(refusal).toBeInstanceOf(FatalError);
      expect(refusal.message).toMatch(/"first" \(1 connections\).*KAFKA_CONSUMER_GROUP=first.*"second"/);
      expect(await database.sql`select consumer_group from pipeline_state`).toMatchObject([
        { consumer_group: "first" },
      ]);

      await first.close();
      const taken = await eventually("the first group has left", () =>
        claim(second, "second").catch(() => undefined),
      );
      expect(taken).toEqual({ previousGroup: "first" });
      await assertStillOurs(second.sql, "second");
      await expect(assertStillOurs(second.sql, "first")).rejects.toThrow(
        'the consumer group "second" has taken over this database from "first"',
      );
      second.destroy();
    },
  );

  test("loses the database when only a check, other groups or other databases are connected", async () => {
    await using database = await pipelineDatabase();
    await using elsewhere = await pipelineDatabase();
    const first = await open(database, "first");
    await claim(first, "first");
    await first.close();
    const others = await Promise.all([
      open(database, "first", "check"),
      open(database, "first-2", "worker"),
      open(elsewhere, "first", "worker"),
    ]);
    const second = await open(database, "second");
    const taken = await eventually("the first group has left", () =>
      claim(second, "second").catch(() => undefined),
    );
    expect(taken).toEqual({ previousGroup: "first" });
    for (const session of [...others, second]) session.destroy();
  });

  test.each(['quote"backslash\\comma,{brace}', "x".repeat(200), `${"long-".repeat(30)}a`])(
    "is recognized by any name: %s",
    async (group) => {
      await using database = await pipelineDatabase();
      const first = await open(database, group, "worker");
      await claim(first, group);
      const second = await open(database, "second");
      await expect(claim(second, "second")).rejects.toThrow(FatalError);
      // Consumers of the group itself do not count, and neither do those of a group whose long name begins the same.
      const twin = await open(database, `${group}-twin`, "worker");
      expect(await claim(first, group)).toEqual({ previousGroup: undefined });
      await first.close();
      await eventually("the first group has left", () => claim(second, "second").catch(() => undefined));
      twin.destroy();
      second.destroy();
    },
  );

  test("is one of two new groups that claim the database at the same time", async () => {
    await using database = await pipelineDatabase();
    const sessions = await Promise.all(["left", "right"].map((group) => open(database, group)));
    const results = await Promise.allSettled(
      sessions.map((session, n) => claim(session, ["left", "right"][n]!)),
    );
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    for (const session of sessions) session.destroy();
  });
});

describe("endStuckPeers", () => {
  const LOCK_OFFSETS = "select * from pipeline_offsets for update";

  async function isConnected({ sql }: TestDatabase, pid: number): Promise<boolean> {
    return (await sql`select 1 from pg_stat_activity where pid = ${pid}`).length > 0;
  }

  /** Leaves a session inside a transaction, like a client that has stopped. */
  function leaveIdleInTransaction(session: Session): Promise<unknown> {
    const left = session.sql.begin(async (tx) => {
      await tx.unsafe(LOCK_OFFSETS);
      await new Promise(() => undefined);
    });
    return left.catch((error: unknown) => error);
  }

  /** Leaves a session inside a COPY, like a client that has stopped. */
  function leaveInCopy(session: Session): Promise<unknown> {
    const left = session.sql.begin(async (tx) => {
      await tx.unsafe(LOCK_OFFSETS);
      const rows = await tx.unsafe("copy raw_events from stdin").writable();
      rows.on("error", () => undefined);
      await new Promise(() => undefined);
    });
    return left.catch((error: unknown) => error);
  }

  const waitsForClient = ({ sql }: TestDatabase, { backendPid }: Session, state: string) =>
    eventually(`backend ${backendPid} is ${state}`, async () => {
      const rows = await sql`
        select 1 from pg_stat_activity where pid = ${backendPid} and state = ${state} and wait_event_type = 'Client' and xact_start is not null`;
      return rows.length > 0;
    });

  test.each<[state: string, leave: (session: Session) => Promise<unknown>]>([
    ["idle in transaction", leaveIdleInTransaction],
    ["active", leaveInCopy],
  ])("ends a session that is %s and waits for its client, and frees its locks", async (state, leave) => {
    await using worker = await freshStore();
    const { database } = worker;
    let lost = false;
    const stuck = await openSession(database, { onLost: () => (lost = true) });
    const left = leave(stuck);
    await waitsForClient(database, stuck, state);
    // The fence waits for the lock.
    await worker.session.sql`set lock_timeout = '100ms'`;
    const batch = () => batchFrom(0, [eventText()]);
    await expect(worker.store.commit(batch())).rejects.toMatchObject({ code: "55P03" });
    expect(await worker.session.run((sql) => endStuckPeers(sql, 0.05))).toEqual([stuck.backendPid]);
    await eventually("its backend has ended", async () => !(await isConnected(database, stuck.backendPid)));
    expect(await left).toBeInstanceOf(Error);
    await eventually("its client is notified", () => lost);
    await new Store(worker.session, { ...STORE_OPTIONS, hourGraceMs: 0 }).commit(batch());
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 1 });
    await expectProven(database);
    stuck.destroy();
  });

  test("spares a session that has waited for a shorter time", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const [idle, copying] = [await openSession(database), await openSession(database)];
    void leaveIdleInTransaction(idle);
    void leaveInCopy(copying);
    await waitsForClient(database, idle, "idle in transaction");
    await waitsForClient(database, copying, "active");
    expect(await worker.session.run((sql) => endStuckPeers(sql, 60))).toEqual([]);
    expect(await isConnected(database, idle.backendPid)).toBe(true);
    for (const session of [idle, copying]) session.destroy();
  });

  test("spares idle, busy and checking sessions, other programs and other databases", async () => {
    await using database = await pipelineDatabase();
    await using elsewhere = await pipelineDatabase();
    await using worker = await openStore(database);
    const idle = await openSession(database);
    const busy = await openSession(database);
    const stranger = await openSession(database);
    await stranger.sql`set application_name = 'psql'`;
    const almost = await openSession(database);
    await almost.sql`set application_name = 'event-pipelines'`;
    const check = await openSession(database, { role: "check" });
    const otherDatabase = await openSession(elsewhere);
    const stuck = await openSession(database);

    const working = busy.sql.begin((tx) => tx`select pg_sleep(60)`).catch(() => undefined);
    for (const session of [stranger, almost, check, otherDatabase]) void leaveIdleInTransaction(session);
    const left = leaveIdleInTransaction(stuck);
    await waitsForClient(database, stuck, "idle in transaction");
    await waitsForClient(database, stranger, "idle in transaction");
    await waitsForClient(database, almost, "idle in transaction");
    await waitsForClient(database, check, "idle in transaction");
    await waitsForClient(elsewhere, otherDatabase, "idle in transaction");
    await eventually("the busy one is busy", async () => {
      const rows =
        await database.sql`select 1 from pg_stat_activity where pid = ${busy.backendPid} and wait_event = 'PgSleep'`;
      return rows.length > 0;
    });
    const ended = await eventually("the stuck one is ended", async () => {
      const pids = await worker.session.run((sql) => endStuckPeers(sql, 0));
      return pids.length > 0 && pids;
    });
    expect(ended).toEqual([stuck.backendPid]);
    await left;
    for (const session of [idle, busy, stranger, almost, check, worker.session]) {
      expect(await isConnected(database, session.backendPid)).toBe(true);
    }
    expect(await isConnected(elsewhere, otherDatabase.backendPid)).toBe(true);
    for (const session of [idle, busy, stranger, almost, check, otherDatabase, stuck]) session.destroy();
    await working;
    expect(await rowCounts(database)).toMatchObject({ raw_events: 0 });
  });
});
