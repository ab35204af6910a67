import { describe, expect, test } from "bun:test";
import { advance, fence, FenceFailed } from "../../shared/store/offsets.ts";
import { Store } from "../../shared/store/store.ts";
import { batchOf, eventText } from "../pipeline/record.ts";
import {
  ledgerOf,
  batchFrom,
  countedSpans,
  EMPTY_STATE,
  everything,
  expectClock,
  expectProven,
  freshStore,
  openStore,
  partitionKey,
  rowCounts,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

const events = (...ids: string[]) => ids.map((event_id) => eventText({ event_id }));
const OPTIONS = { ...STORE_OPTIONS, hourGraceMs: 0 };

describe("the fence", () => {
  test.each<[what: string, from: number]>([
    ["before the stored offset", 1],
    ["at the first offset again", 0],
    ["after the stored offset", 3],
  ])("stores nothing of a batch that begins %s", async (_what, from) => {
    await using worker = await freshStore(2);
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const before = await everything(database);
    await using other = await openStore(database);
    const values = [...events("c", "d"), "not JSON"];
    await expect(other.store.commit(batchFrom(from, values))).rejects.toThrow(
      `user-events[0]: the stored offset is 2, this batch begins at ${from}`,
    );
    expect(await everything(database)).toEqual(before);
    // The session stays usable.
    await new Store(other.session, OPTIONS).commit(batchFrom(2, values));
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 5, stored: 4, dead_lettered: 1 });
    await expectProven(database);
  });

  test("stops a whole batch for one stale partition", async () => {
    await using worker = await freshStore(3);
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a"), 1));
    const before = await everything(database);
    const batch = batchOf(
      [0, 1, 2].map((slot) => ({ slot, offset: 0, value: events(`e${slot}`)[0] })),
      [0, 1, 2].map((partition) => ({ ...partitionKey(partition), from: 0 })),
    );
    await expect(worker.store.commit(batch)).rejects.toThrow(FenceFailed);
    expect(await everything(database)).toEqual(before);
  });

  test("refuses a partition, a topic or a topic id that was never entered", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    for (const key of [
      partitionKey(1),
      { ...partitionKey(0), topic: "user-event" },
      { ...partitionKey(0), topicId: "BBBBBBBBQACAAAAAAAAAAA" },
    ]) {
      const batch = batchOf([{ offset: 0, value: eventText() }], [{ ...key, from: 0 }]);
      await expect(worker.store.commit(batch)).rejects.toThrow("the stored offset is missing");
    }
    expect(await rowCounts(database)).toMatchObject({ raw_events: 0, pipeline_offsets: 1 });
  });

  test("fails when the offsets of the last transaction were lost", async () => {
    await using worker = await freshStore(2);
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a", "b"), 0));
    // A crash of the server may lose the last asynchronous commits: partition 0 is back, without its effects.
    await database.sql`update pipeline_offsets set next_offset = 0, consumed = 0, stored = 0 where partition = 0`;
    await database.sql`truncate raw_events, hourly_aggregations, hourly_users`;
    const before = await everything(database);
    await expect(worker.store.commit(batchFrom(0, events("c"), 1))).rejects.toThrow(
      "user-events[0]: 2 was committed, 0 is stored; the server lost its last transactions",
    );
    expect(await everything(database)).toEqual(before);
    // After a resync, without a memory, everything is stored again.
    const store = new Store(worker.session, OPTIONS);
    await store.commit(batchFrom(0, events("a", "b"), 0));
    await store.commit(batchFrom(0, events("c"), 1));
    await expectProven(database);
    expect(await rowCounts(database)).toMatchObject({ raw_events: 3, hourly_users: 1 });
  });

  test("fails when a row of the last transaction is missing", async () => {
    await using worker = await freshStore(2);
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a"), 0));
    await database.sql`delete from pipeline_offsets where partition = 0`;
    await expect(worker.store.commit(batchFrom(0, events("b"), 1))).rejects.toThrow(
      "1 was committed, nothing is stored",
    );
  });

  test("accepts an offset that the next owner of its partition has advanced", async () => {
    await using worker = await freshStore(2);
    const { database } = worker;
    await using next = await openStore(database);
    await worker.store.commit(batchFrom(0, events("a"), 0));
    await next.store.commit(batchFrom(1, events("b"), 0));
    await worker.store.commit(batchFrom(0, events("c"), 1));
    await expectProven(database);
    expect(await rowCounts(database)).toMatchObject({ raw_events: 3 });
  });

  test("lets one of two sessions with the same span win, and the other write nothing", async () => {
    await using left = await freshStore();
    const { database } = left;
    await using right = await openStore(database);
    let leftWon = 0;
    const rounds = 40;
    for (let round = 0; round < rounds; round++) {
      // The batches differ in length and events.
      const mine = (who: string, length: number) =>
        batchFrom(round * 3, [
          ...Array.from({ length }, (_, n) => events(`${who}_${round}_${n}`)[0]!),
          "not JSON",
        ]);
      const workers = [left, right].map(({ session }) => new Store(session, OPTIONS));
      const results = await Promise.allSettled([
        workers[0]!.commit(mine("left", 1)),
        workers[1]!.commit(mine("right", 2)),
      ]);
      expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
      const loser = results.find((result) => result.status === "rejected");
      expect(loser?.reason).toBeInstanceOf(FenceFailed);
      if (results[0]?.status === "fulfilled") leftWon++;
      // After the shorter batch another one fills the gap.
      const [{ next_offset }] =
        (await database.sql`select next_offset::int from pipeline_offsets`) as unknown as [
          { next_offset: number },
        ];
      if (next_offset < round * 3 + 3)
        await new Store(left.session, OPTIONS).commit(batchFrom(next_offset, ["{"]));
    }
    await expectProven(database);
    expect(await ledgerOf(database)).toMatchObject({
      next_offset: rounds * 3,
      stored: leftWon + 2 * (rounds - leftWon),
      dead_lettered: leftWon * 2 + (rounds - leftWon),
    });
  });

  test("is repeated by advance, which refuses a stale span alone", async () => {
    await using worker = await freshStore(2);
    const spans = (from: number) => countedSpans(batchFrom(from, events("a")));
    await worker.session.transaction(5000, (tx) => advance(tx, spans(0), EMPTY_STATE));
    await expect(
      worker.session.transaction(5000, (tx) => advance(tx, spans(0), EMPTY_STATE)),
    ).rejects.toThrow("0 of 1 offsets could be advanced");
  });

  test("fails in a transaction of another backend", async () => {
    await using mine = await freshStore();
    const { database } = mine;
    await using other = await openStore(database);
    const spans = [...batchFrom(0, events("a")).spans.values()];
    const attempt = other.session.transaction(5000, (tx) => fence(tx, mine.session, spans, []));
    await expect(attempt).rejects.toThrow(`runs in backend ${other.session.backendPid}, not in backend `);
  });

  test("reads the database's clock", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    worker.session.observeClock(0);
    await worker.store.commit(batchFrom(0, events("a")));
    await expectClock(database, worker.session);
  });
});
