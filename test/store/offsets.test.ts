import { describe, expect, test } from "bun:test";
import {
  advance,
  enterPartitions,
  fence,
  FenceFailed,
  offsetKey,
  readOffsets,
  skipGap,
} from "../../shared/store/offsets.ts";
import { Store } from "../../shared/store/store.ts";
import { eventually, throughout } from "../support/eventually.ts";
import { batchOf, eventText } from "../pipeline/record.ts";
import {
  account,
  batchFrom,
  enter,
  everything,
  expectProven,
  openSession,
  openStore,
  partitionKey,
  pipelineDatabase,
  rowCounts,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

const events = (...ids: string[]) => ids.map((event_id) => eventText({ event_id }));
const OPTIONS = { ...STORE_OPTIONS, hourGraceMs: 0 };

describe("the fence", () => {
  test.each<[what: string, from: number]>([
    ["behind the stored offset", 1],
    ["at the beginning again", 0],
    ["ahead of it", 3],
  ])("a batch that begins %s is not stored, nor anything of it", async (_what, from) => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 2);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const before = await everything(database);
    await using other = await openStore(database);
    const values = [...events("c", "d"), "not JSON"];
    await expect(other.store.commit(batchFrom(from, values))).rejects.toThrow(
      `user-events[0]: the stored offset is 2, this batch begins at ${from}`,
    );
    expect(await everything(database)).toEqual(before);
    // The session is as good as before.
    await new Store(other.session, OPTIONS).commit(batchFrom(2, values));
    expect(await account(database)).toMatchObject({ next_offset: 5, stored: 4, dead_lettered: 1 });
    await expectProven(database);
  });

  test("one stale partition stops the others of its batch", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 3);
    await worker.store.commit(batchFrom(0, events("a"), 1));
    const before = await everything(database);
    const batch = batchOf(
      [0, 1, 2].map((slot) => ({ slot, offset: 0, value: events(`e${slot}`)[0] })),
      [0, 1, 2].map((partition) => ({ ...partitionKey(partition), from: 0 })),
    );
    await expect(worker.store.commit(batch)).rejects.toThrow(FenceFailed);
    expect(await everything(database)).toEqual(before);
  });

  test("a partition, a topic or a topic id that was never entered is none", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
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

  test("what the last transaction advanced must still stand", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 2);
    await worker.store.commit(batchFrom(0, events("a", "b"), 0));
    // As a crash of the server would with the last asynchronous commits: partition 0 is back, and its effects gone.
    await database.sql`update pipeline_offsets set next_offset = 0, consumed = 0, stored = 0 where partition = 0`;
    await database.sql`truncate raw_events, hourly_aggregations, hourly_users`;
    const before = await everything(database);
    await expect(worker.store.commit(batchFrom(0, events("c"), 1))).rejects.toThrow(
      "user-events[0]: 2 was committed, 0 is stored; the server lost its last transactions",
    );
    expect(await everything(database)).toEqual(before);
    // After a resync, with a memory of nothing, everything is done again.
    const store = new Store(worker.session, OPTIONS);
    await store.commit(batchFrom(0, events("a", "b"), 0));
    await store.commit(batchFrom(0, events("c"), 1));
    await expectProven(database);
    expect(await rowCounts(database)).toMatchObject({ raw_events: 3, hourly_users: 1 });
  });

  test("a row that is gone does not stand either", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 2);
    await worker.store.commit(batchFrom(0, events("a"), 0));
    await database.sql`delete from pipeline_offsets where partition = 0`;
    await expect(worker.store.commit(batchFrom(0, events("b"), 1))).rejects.toThrow(
      "1 was committed, -1 is stored",
    );
  });

  test("a partition that went to another worker and on is no fault", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await using next = await openStore(database);
    await enter(worker.session, 2);
    await worker.store.commit(batchFrom(0, events("a"), 0));
    await next.store.commit(batchFrom(1, events("b"), 0));
    await worker.store.commit(batchFrom(0, events("c"), 1));
    await expectProven(database);
    expect(await rowCounts(database)).toMatchObject({ raw_events: 3 });
  });

  test("two sessions race for the same span: one wins, the other writes nothing", async () => {
    await using database = await pipelineDatabase();
    await using left = await openStore(database);
    await using right = await openStore(database);
    await enter(left.session, 1);
    let leftWon = 0;
    const rounds = 40;
    for (let round = 0; round < rounds; round++) {
      // Each has a batch of its own making, of another length and with other events.
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
      // The shorter batch is brought to the same end.
      const [{ next_offset }] =
        (await database.sql`select next_offset::int from pipeline_offsets`) as unknown as [
          { next_offset: number },
        ];
      if (next_offset < round * 3 + 3)
        await new Store(left.session, OPTIONS).commit(batchFrom(next_offset, ["{"]));
    }
    await expectProven(database);
    expect(await account(database)).toMatchObject({
      next_offset: rounds * 3,
      stored: leftWon + 2 * (rounds - leftWon),
      dead_lettered: leftWon * 2 + (rounds - leftWon),
    });
  });

  test("the advance compares once more: without the fence it still stores no stale span", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 2);
    const spans = (from: number) => [...batchFrom(from, events("a")).spans.values()];
    await worker.session.transaction(5000, (tx) => advance(tx, spans(0)));
    await expect(worker.session.transaction(5000, (tx) => advance(tx, spans(0)))).rejects.toThrow(
      "0 of 1 offsets could be advanced",
    );
  });

  test("a transaction in another backend than the session's own is stopped", async () => {
    await using database = await pipelineDatabase();
    await using mine = await openStore(database);
    await using other = await openStore(database);
    await enter(mine.session, 1);
    const spans = [...batchFrom(0, events("a")).spans.values()];
    const attempt = other.session.transaction(5000, (tx) => fence(tx, mine.session, spans, []));
    await expect(attempt).rejects.toThrow(`runs in backend ${other.session.backendPid}, not in backend `);
  });

  test("the clock comes along with it", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
    worker.session.observeClock(0);
    await worker.store.commit(batchFrom(0, events("a")));
    const [{ now_ms }] = (await database.sql`
      select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`) as unknown as [
      { now_ms: number },
    ];
    expect(Math.abs(worker.session.now() - now_ms)).toBeLessThan(5000);
  });
});

describe("the account", () => {
  test("offsets that hold no record are skipped ones", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await worker.session.run((sql) => enterPartitions(sql, [{ ...partitionKey(0), nextOffset: 10 }]));
    const records = [13, 14, 20, 21].map((offset) => ({
      offset,
      value: offset === 20 ? "{" : events(`e${offset % 2}`)[0],
    }));
    await worker.store.commit(batchOf(records, [{ ...partitionKey(0), from: 10 }]));
    expect(await account(database)).toEqual({
      first_offset: 10,
      next_offset: 22,
      consumed: 4,
      skipped: 8,
      stored: 2,
      duplicates: 1,
      dead_lettered: 1,
    });
    await expectProven(database);
  });

  test("offsets beyond 2^32, up to 2^53, are exact", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const from = Number.MAX_SAFE_INTEGER - 3;
    await worker.session.run((sql) => enterPartitions(sql, [{ ...partitionKey(0), nextOffset: from }]));
    await worker.store.commit(batchFrom(from, [eventText(), "{"]));
    expect(
      await database.sql`select next_offset::text, (select "offset"::text from dead_letter_events) from pipeline_offsets`,
    ).toMatchObject([{ next_offset: String(from + 2), offset: String(from + 1) }]);
    const offsets = await worker.session.run((sql) => readOffsets(sql, [partitionKey(0)]));
    expect(offsets.get(offsetKey(partitionKey(0)))).toBe(from + 2);
  });
});

describe("entering partitions", () => {
  test("a new one starts where its log starts; one that is there stays where it is", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const starts = [
      { ...partitionKey(0), nextOffset: 0 },
      { ...partitionKey(1), nextOffset: 17 },
    ];
    await worker.session.run((sql) => enterPartitions(sql, starts));
    const keys = [0, 1, 2].map(partitionKey);
    const offsets = await worker.session.run((sql) => readOffsets(sql, keys));
    expect(keys.map((key) => offsets.get(offsetKey(key)))).toEqual([2, 17, undefined]);
  });

  test("many at once, from several workers, in any order: each once", async () => {
    await using database = await pipelineDatabase();
    const sessions = await Promise.all(Array.from({ length: 4 }, () => openSession(database)));
    const starts = Array.from({ length: 50 }, (_, partition) => ({
      ...partitionKey(partition),
      nextOffset: partition,
    }));
    await Promise.all(
      sessions.map((session, index) =>
        session.run((sql) => enterPartitions(sql, index % 2 === 0 ? starts : starts.toReversed())),
      ),
    );
    expect(
      await database.sql`select count(*)::int, sum(next_offset)::int from pipeline_offsets`,
    ).toMatchObject([{ count: 50, sum: 1225 }]);
    for (const session of sessions) session.destroy();
  });

  test("a topic made anew is another one", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const anew = { ...partitionKey(0), topicId: "BBBBBBBBQACAAAAAAAAAAA" };
    await worker.session.run((sql) => enterPartitions(sql, [{ ...anew, nextOffset: 0 }]));
    await worker.store.commit(
      batchOf(
        ["c", "a"].map((id, offset) => ({ offset, value: events(id)[0] })),
        [{ ...anew, from: 0 }],
      ),
    );
    expect(
      await database.sql`select topic_id, next_offset::int, duplicates::int from pipeline_offsets order by topic_id`,
    ).toMatchObject([
      { topic_id: partitionKey(0).topicId, next_offset: 2, duplicates: 0 },
      { topic_id: anew.topicId, next_offset: 2, duplicates: 1 },
    ]);
    await expectProven(database);
  });
});

describe("reading offsets", () => {
  test("waits for the transaction that holds them, and sees what it left", async () => {
    await using database = await pipelineDatabase();
    await using old = await openStore(database);
    await using reader = await openStore(database);
    await enter(old.session, 1);
    const spans = [...batchFrom(0, events("a", "b")).spans.values()];
    const held = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const inFlight = old.session.transaction(20_000, async (tx) => {
      await fence(tx, old.session, spans, []);
      await advance(tx, spans);
      held.resolve();
      await release.promise;
    });
    await held.promise;
    let answered = false;
    const reading = reader.session
      .run((sql) => readOffsets(sql, [partitionKey(0)]))
      .finally(() => {
        answered = true;
      });
    await eventually("the reader waits for it", async () => {
      const rows = await database.sql`
        select 1 from pg_stat_activity where pid = ${reader.session.backendPid} and wait_event_type = 'Lock'`;
      return rows.length === 1;
    });
    await throughout("it has no answer yet", 100, () => !answered);
    release.resolve();
    await inFlight;
    expect((await reading).get(offsetKey(partitionKey(0)))).toBe(2);
  });
});

describe("skipping what Kafka deleted", () => {
  test("moves the offset, and the account says so", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const from = { ...partitionKey(0), nextOffset: 2 };
    expect(await worker.session.run((sql) => skipGap(sql, from, 40))).toBe(true);
    expect(await account(database)).toMatchObject({ next_offset: 40, consumed: 2, skipped: 38 });
    await worker.store.commit(batchFrom(40, events("c")));
    await expectProven(database);
  });

  test("but not where another worker moved it meanwhile", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await enter(worker.session, 1);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const before = await everything(database);
    const stale = { ...partitionKey(0), nextOffset: 1 };
    expect(await worker.session.run((sql) => skipGap(sql, stale, 40))).toBe(false);
    expect(await everything(database)).toEqual(before);
  });
});
