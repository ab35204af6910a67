// Tests that a session to the model ends, fails and goes on as one to a real PostgreSQL does, fault by fault.
import { describe, expect, test } from "bun:test";
import { assertStillOurs, endStuckPeers } from "../../../../shared/store/database-owner.ts";
import { fence } from "../../../../shared/store/offsets.ts";
import { readPositions } from "../../../../shared/store/positions.ts";
import type { StoreSession, Transaction } from "../../../../shared/store/session.ts";
import { classify } from "../../../../shared/store/sqlstate.ts";
import { Store } from "../../../../shared/store/store.ts";
import { eventWithId } from "../../../pipeline/record.ts";
import {
  batchFrom,
  countedSpans,
  GROUP,
  partitionKey,
  STORE_OPTIONS,
} from "../../../store/pipeline-database.ts";
import { copyStatement } from "../statements/raw-events.ts";
import { type FaultSide, playOnModel, playOnServer, type Scenario } from "./fault-sides.ts";
import { describeError } from "./perform.ts";

/** An outcome in words; of a lost connection only that it is one. */
function outcomeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (error: unknown) => (classify(error) === "connection" ? "connection" : describeError(error)),
  );
}

const batchAt = (from: number, id: string, partition = 0) => batchFrom(from, [eventWithId(id)], partition);

function storeOf(session: StoreSession): Store {
  return new Store(session, STORE_OPTIONS);
}

async function lock(tx: Transaction, session: StoreSession, partition = 0): Promise<void> {
  await fence(tx, session, countedSpans(batchAt(0, "locking", partition)), []);
}

/** A session that has locked a partition in a transaction, which ends when `end` is called. */
async function holding(side: FaultSide, partition = 0) {
  const end = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const session = await side.open();
  const ended = outcomeOf(
    session.transaction(60_000, async (tx) => {
      await lock(tx, session, partition);
      held.resolve();
      await end.promise;
      await tx`select consumer_group from pipeline_state`;
    }),
  );
  await held.promise;
  return { session, end: end.resolve, ended };
}

const keys = [0, 1, 2].map(partitionKey);

async function kindsOf(session: StoreSession): Promise<string[]> {
  return (await session.run((sql) => readPositions(sql, keys))).map(({ kind }) => kind);
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "it is ended while it is idle": async (side) => {
    let lost = 0;
    const session = await side.open({ onLost: () => lost++ });
    await side.terminate(session);
    await side.until("it is lost", () => session.isLost);
    return [lost, await outcomeOf(session.run((sql) => assertStillOurs(sql, GROUP)))];
  },
  "it is ended between two statements of a transaction": async (side) => {
    const { session, end, ended } = await holding(side);
    await side.terminate(session);
    await side.until("it is lost", () => session.isLost);
    end();
    return [await ended, await kindsOf(await side.open())];
  },
  "it is ended while it waits for a lock": async (side) => {
    const holder = await holding(side);
    let lost = 0;
    const waiting = await side.open({ onLost: () => lost++ });
    const outcome = outcomeOf(storeOf(waiting).commit(batchAt(0, "a")));
    await side.untilBlocked(waiting);
    await side.terminate(waiting);
    const first = await outcome;
    await side.until("it is lost", () => waiting.isLost);
    holder.end();
    return [first, lost, await holder.ended, await kindsOf(holder.session)];
  },
  "its owner destroys it while it waits for a lock": async (side) => {
    const holder = await holding(side);
    let lost = 0;
    const waiting = await side.open({ onLost: () => lost++ });
    const outcome = outcomeOf(storeOf(waiting).commit(batchAt(0, "a")));
    await side.untilBlocked(waiting);
    waiting.destroy();
    const first = await outcome;
    holder.end();
    const released = await holder.ended;
    // Its backend gets the lock, and then reads that its client is gone.
    const next = await outcomeOf(storeOf(holder.session).commit(batchAt(0, "b")));
    return [first, lost, released, next];
  },
  "all further transactions are read-only": async (side) => {
    const session = await side.open();
    await side.makeReadOnly(session);
    const inTransaction = (body: (tx: Transaction) => Promise<unknown>) =>
      outcomeOf(session.transaction(60_000, body));
    return [
      await outcomeOf(session.run((sql) => assertStillOurs(sql, GROUP))),
      await outcomeOf(session.run((sql) => readPositions(sql, keys))),
      await inTransaction((tx) => lock(tx, session)),
      await inTransaction(async (tx) => {
        await lock(tx, session).catch(() => undefined);
        await tx.unsafe("select 1");
      }),
      await outcomeOf(storeOf(session).commit(batchAt(0, "a"))),
      session.isLost,
    ];
  },
  "a column is missing for a while": async (side) => {
    const session = await side.open();
    const store = storeOf(session);
    const repair = await side.breakHours();
    const broken = await outcomeOf(store.commit(batchAt(0, "a")));
    await repair();
    return [broken, await outcomeOf(store.commit(batchAt(0, "a"))), session.isLost];
  },
  "stuck peers are ended, and no others": async (side) => {
    const [idle, stuck, copying] = [await side.open(), await holding(side, 0), await side.open()];
    const copy = Promise.withResolvers<void>();
    const copied = outcomeOf(
      copying.transaction(60_000, async (tx) => {
        const input = await tx.unsafe(copyStatement.text).writable();
        input.on("error", () => undefined);
        copy.resolve();
        await new Promise(() => undefined);
      }),
    );
    await copy.promise;
    const waiting = await side.open();
    const waited = outcomeOf(storeOf(waiting).commit(batchAt(0, "a")));
    await side.untilBlocked(waiting);
    const ended = await (await side.open()).run((sql) => endStuckPeers(sql, 0));
    await side.until("both are lost", () => stuck.session.isLost && copying.isLost);
    stuck.end();
    return [
      ended
        .toSorted((a, b) => a - b)
        .map((pid) => [stuck.session, copying].findIndex((each) => each.backendPid === pid)),
      [await stuck.ended, await copied, await waited],
      [idle.isLost, waiting.isLost],
    ];
  },
};

describe("a session to the model behaves as one to a PostgreSQL server when", () => {
  test.each(Object.entries(SCENARIOS))("%s", async (_, scenario) => {
    const expected = await playOnServer(scenario);
    expect(await playOnModel(scenario)).toEqual(expected as never);
    // The scenario has shown something.
    expect(JSON.stringify(expected)).toMatch(/connection|42703/);
  });
});
