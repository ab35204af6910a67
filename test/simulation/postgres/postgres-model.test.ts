// Tests what the model of PostgreSQL does that cannot be repeated on a real server at will.
import { describe, expect, test } from "bun:test";
import { endStuckPeers } from "../../../shared/store/database-owner.ts";
import { advance, fence } from "../../../shared/store/offsets.ts";
import { readPositions } from "../../../shared/store/positions.ts";
import { batchFrom, countedSpans, EMPTY_STATE, partitionKey } from "../../store/pipeline-database.ts";
import { GROUP, ModelLab } from "./model-lab.ts";
import { copyStatement } from "./statements/raw-events.ts";

describe("a crash of the model", () => {
  test("takes back the last commits whole, the newest first, and only those that are not on disk", () => {
    const lab = new ModelLab();
    const session = lab.open();
    lab.done(lab.commit(session, 0));
    lab.pass(700);
    for (const from of [1, 2, 3]) lab.done(lab.commit(session, from));
    lab.model.crash({ lostTransactions: 2 });
    expect([lab.lost, lab.stored(), lab.model.tables.rawEvents.rows().length]).toEqual([2, 2, 2]);
    lab.model.start();
    lab.done(lab.commit(lab.open(), 2));
    lab.pass(700);
    lab.model.crash({ lostTransactions: 100 });
    expect([lab.lost, lab.stored()]).toEqual([2, 3]);
  });

  test("loses nothing before a commit that has waited for the disk", () => {
    const lab = new ModelLab();
    lab.done(lab.commit(lab.open(), 0));
    lab.done(lab.commit(lab.open(undefined, "main"), 1));
    lab.model.crash({ lostTransactions: 5 });
    expect([lab.lost, lab.stored()]).toEqual([0, 2]);
  });

  test("ends the transactions in flight and closes all connections", () => {
    const lab = new ModelLab();
    const session = lab.open();
    const commit = lab.commit(session, 0);
    lab.pass(4);
    lab.model.crash({ lostTransactions: 0 });
    expect(lab.outcome(commit)).toMatchObject({ code: "CONNECTION_CLOSED" });
    expect([session.isLost, lab.stored()]).toEqual([true, 0]);
    const refused = lab.model.client().open(undefined, { role: "worker", consumerGroup: GROUP });
    expect(lab.outcome(refused)).toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("a COMMIT of the model without an answer", () => {
  test.each([
    [true, "closed", "CONNECTION_CLOSED", 1],
    [false, "closed", "CONNECTION_CLOSED", 0],
    [true, "silent", undefined, 1],
    [false, "silent", undefined, 0],
  ] as const)("applied: %p, connection %s", (isApplied, connection, code, stored) => {
    const lab = new ModelLab();
    const session = lab.open();
    lab.model.faults.loseCommitAnswer({ isApplied, connection });
    const startedMs = lab.time.nowMs();
    const error = lab.outcome(lab.commit(session, 0));
    const tookMs = lab.time.nowMs() - startedMs;
    // The driver finds out at once, or the client by its deadline.
    if (code === undefined)
      expect([(error as Error).name, tookMs >= 30_000]).toEqual(["ConnectionLost", true]);
    else expect([(error as { code: string }).code, tookMs < 1000]).toEqual([code, true]);
    expect([session.isLost, lab.stored()]).toEqual([true, stored]);
  });

  test("that has not arrived keeps its locks until the server ends the idle transaction", () => {
    const lab = new ModelLab();
    lab.model.faults.loseCommitAnswer({ isApplied: false, connection: "silent" });
    void lab.commit(lab.open(), 0).catch(() => undefined);
    lab.pass(1000);
    const next = lab.open();
    const kindOf = () => lab.done(next.run((sql) => readPositions(sql, [partitionKey(0)])))[0]!.kind;
    expect(kindOf()).toBe("locked");
    lab.pass(10_000);
    expect(kindOf()).toBe("stored");
  });

  test("takes effect when the frozen server goes on, long after its client has given up", () => {
    const lab = new ModelLab();
    const session = lab.open();
    lab.model.faults.slowCommit(50);
    const commit = lab.commit(session, 0);
    lab.pass(40);
    lab.model.freeze();
    expect(lab.outcome(commit)).toMatchObject({ name: "ConnectionLost" });
    expect(lab.stored()).toBe(0);
    lab.model.thaw();
    lab.pass(1000);
    expect(lab.stored()).toBe(1);
  });

  test("takes effect when its client is killed after it was sent", () => {
    const lab = new ModelLab();
    const client = lab.model.client();
    const session = lab.open(client);
    lab.model.faults.slowCommit(50);
    void lab.commit(session, 0);
    lab.pass(40);
    client.kill();
    lab.pass(1000);
    expect([lab.stored(), lab.model.backendPids.includes(session.backendPid)]).toEqual([1, false]);
  });
});

describe("a wait of the model", () => {
  test("ends after ten seconds, with an error, although the holder is at work", () => {
    const lab = new ModelLab();
    const [holder, waiting] = [lab.open(), lab.open()];
    const held = lab.lockInTurn(holder, [0, 0, 0], 8000);
    lab.pass(100);
    const startedMs = lab.time.nowMs();
    expect(lab.outcome(lab.commit(waiting, 0))).toMatchObject({ code: "55P03" });
    expect(lab.time.nowMs() - startedMs).toBeGreaterThan(10_000);
    lab.done(held);
    expect(lab.outcome(lab.commit(waiting, 0))).toMatchObject({ newUsers: 1 });
  });

  test("of two transactions for each other ends one of them after a second", () => {
    const lab = new ModelLab();
    const [one, other] = [lab.open(), lab.open()];
    const outcomes = Promise.allSettled([
      lab.lockInTurn(one, [0, 1], 100),
      lab.lockInTurn(other, [1, 0], 150),
    ]);
    const startedMs = lab.time.nowMs();
    const [first, second] = lab.done(outcomes);
    expect([first, second]).toMatchObject([{ reason: { code: "40P01" } }, { status: "fulfilled" }]);
    expect(lab.time.nowMs() - startedMs).toBeGreaterThan(1000);
    expect(lab.deadlocks.map((members) => members.map(({ statement }) => statement))).toEqual([
      ["fence", "fence"],
    ]);
  });
});

describe("a client of the model that does not answer", () => {
  test("in the middle of a COPY holds its locks until a peer ends it", () => {
    const lab = new ModelLab();
    const [stuck, peer] = [lab.open(), lab.open()];
    void stuck
      .transaction(600_000, async (tx) => {
        await fence(tx, stuck, countedSpans(batchFrom(0, ["x"])), []);
        await tx.unsafe(copyStatement.text).writable();
        await new Promise(() => undefined);
      })
      .catch(() => undefined);
    // No timeout of the server reaches it.
    lab.pass(120_000);
    const end = () => lab.done(peer.run((sql) => endStuckPeers(sql, 5)));
    expect([end(), end()]).toEqual([[stuck.backendPid], []]);
    expect(stuck.isLost).toBe(true);
    expect(lab.outcome(lab.commit(peer, 0))).toMatchObject({ newUsers: 1 });
  });

  test("in a transaction is ended by the server after ten seconds", () => {
    const lab = new ModelLab();
    const session = lab.open();
    void session
      .transaction(600_000, async (tx) => {
        await advance(tx, countedSpans(batchFrom(0, ["x"])), EMPTY_STATE);
        await new Promise(() => undefined);
      })
      .catch(() => undefined);
    lab.pass(9000);
    expect(session.isLost).toBe(false);
    lab.pass(2000);
    expect([session.isLost, lab.stored()]).toEqual([true, 0]);
  });
});

describe("a history of the model", () => {
  test("is the same for the same seed, to the last word", () => {
    const history = (): string[] => {
      const lab = new ModelLab();
      const sessions = [lab.open(), lab.open()];
      const commits = sessions.map(async (session, partition) => {
        for (const from of [0, 1, 2, 3]) await lab.commit(session, from, partition);
      });
      lab.done(Promise.all(commits));
      return lab.trace;
    };
    expect(history().length).toBeGreaterThan(20);
    expect(history()).toEqual(history());
  });
});
