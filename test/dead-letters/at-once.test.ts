// Replays and discards dead letters while others do the same, while a consumer stores, and while somebody ends them.
import { expect, test } from "bun:test";
import type { ReplayReport } from "../../workers/dead-letters/replay-tally.ts";
import { eventText, eventWithId } from "../pipeline/record.ts";
import { batchFrom, expectProven, ledgerOf, openStore } from "../store/pipeline-database.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { expectProofs, letterDatabase, mendFile, replayGate, run, start, statesOf } from "./letters.ts";

/** Letters that this edit mends. */
const unnamed = (count: number, prefix: string): string[] =>
  Array.from({ length: count }, (_, index) =>
    eventText({ event_id: `${prefix}${index}`, user_id: undefined }),
  );

/** Waits until so many of our sessions wait for the lock of a row. */
async function blocked({ sql }: TestDatabase, sessions: number): Promise<void> {
  await eventually(`${sessions} sessions wait for a partition`, async () => {
    const rows = await sql`
      select from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline %' and wait_event_type = 'Lock'
        and wait_event <> 'advisory'`;
    return rows.length === sessions;
  });
}

test("two replays and a discard of the same letters settle each letter once", async () => {
  await using database = await letterDatabase(unnamed(4000, "a"), unnamed(300, "b"));
  await using mend = await mendFile();
  await using gate = await replayGate(database);
  await gate.close();
  const replay = () => start(database, ["replay", "--all", "--edit", mend.path, "--json"]);
  await using first = replay();
  await gate.reached();
  await using second = replay();
  await using third = start(database, ["discard", "--all", "--because", "x", "--json"]);
  await blocked(database, 2);
  await gate.open();
  const codes = [await first.exit(), await second.exit(), await third.exit()];
  expect(codes).toEqual([0, 0, 0]);
  const reports = [first, second].map(({ stdout }) => JSON.parse(stdout) as ReplayReport);
  const { discarded } = JSON.parse(third.stdout) as { discarded: number };
  const stored = reports.reduce((sum, report) => sum + report.stored, 0);
  const states = await statesOf(database);
  expect(states.filter((state) => state === "stored")).toHaveLength(stored);
  expect(states.filter((state) => state === "discarded")).toHaveLength(discarded);
  expect(stored + discarded).toBe(4300);
  expect(reports.map(({ duplicates }) => duplicates)).toEqual([0, 0]);
  await expectProven(database);
  await expectProofs(database);
});

test("a consumer that stores a batch of the same partition waits for the replay, and its fence holds", async () => {
  await using database = await letterDatabase([...unnamed(20, "a"), eventWithId("good")]);
  await using mend = await mendFile();
  await using worker = await openStore(database);
  await using gate = await replayGate(database);
  await gate.close();
  await using replay = start(database, ["replay", "--all", "--edit", mend.path]);
  await gate.reached();
  // The first of them is among the letters too.
  const committing = worker.store.commit(batchFrom(21, [eventWithId("a0"), eventWithId("late"), "{"]));
  await blocked(database, 1);
  await gate.open();
  await committing;
  expect(await replay.exit()).toBe(0);
  expect(await ledgerOf(database)).toMatchObject({
    next_offset: 24,
    consumed: 24,
    stored: 22,
    duplicates: 1,
    dead_lettered: 1,
  });
  await expectProven(database);
  await expectProofs(database);
});

test("a replay that is asked to stop finishes its transaction, and the next one does the rest", async () => {
  await using database = await letterDatabase(unnamed(600, "a"));
  await using mend = await mendFile();
  const replay = ["replay", "--all", "--edit", mend.path];
  await using slow = start(database, [...replay, "--rate", "1"]);
  await eventually("one letter is replayed", async () => (await statesOf(database)).includes("stored"));
  slow.signal("SIGTERM");
  expect(await slow.exit()).toBe(1);
  expect(slow.stderr).toContain(
    "stopped by SIGTERM; the letters that are left stay open: run it again to go on",
  );
  const left = (await statesOf(database)).filter((state) => state === "open").length;
  expect(left).toBeWithin(1, 600);
  const { code, stdout } = await run(database, replay);
  expect(code).toBe(0);
  expect(stdout).toStartWith(`replayed ${left} dead letters`);
  await expectProven(database);
  await expectProofs(database);
});

test("a replay that is killed in the middle of a transaction leaves no trace of it", async () => {
  await using database = await letterDatabase(unnamed(30, "a"));
  await using mend = await mendFile();
  await using gate = await replayGate(database);
  await gate.close();
  const replay = ["replay", "--all", "--edit", mend.path];
  await using victim = start(database, replay);
  await gate.reached();
  victim.signal("SIGKILL");
  await victim.exit();
  await gate.open();
  // It waits for the transaction of the other, which ends when PostgreSQL notices that its client is gone.
  expect((await run(database, replay)).code).toBe(0);
  const attempts = await database.sql`select distinct state, attempts from dead_letter_events`;
  expect([...attempts]).toEqual([{ state: "stored", attempts: 1 }]);
  await expectProven(database);
  await expectProofs(database);
});

test("a replay that loses its connection says so, and the next one does the rest", async () => {
  await using database = await letterDatabase(unnamed(1100, "a"));
  await using mend = await mendFile();
  await using gate = await replayGate(database);
  const replay = ["replay", "--all", "--edit", mend.path];
  await gate.close();
  await using victim = start(database, replay);
  await gate.reached();
  await database.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'event-pipeline main %'
      and datname = current_database()`;
  expect(await victim.exit()).toBe(1);
  expect(victim.stderr).toMatch(
    /^the connection to PostgreSQL is lost: .*What was committed stays; run it again to go on\n$/,
  );
  await gate.open();
  expect((await run(database, replay)).stdout).toStartWith("replayed 1,100 dead letters");
  await expectProofs(database);
});
