import { describe, expect, test } from "bun:test";
import { advance, fence, skipGap } from "../../shared/store/offsets.ts";
import { enterPartitions, readPositions, type StoredPosition } from "../../shared/store/positions.ts";
import { batchOf, eventText } from "../pipeline/record.ts";
import {
  ledgerOf,
  batchFrom,
  countedSpans,
  EMPTY_STATE,
  everything,
  expectProven,
  freshStore,
  openSession,
  openStore,
  partitionKey,
  pipelineDatabase,
} from "./pipeline-database.ts";

const stored = (nextOffset: number): StoredPosition => ({
  kind: "stored",
  reading: 0,
  nextOffset,
  leaderEpoch: undefined,
});
const events = (...ids: string[]) => ids.map((event_id) => eventText({ event_id }));

describe("the counts of a partition", () => {
  test("include offsets without a record as gaps", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    await worker.session.run((sql) => enterPartitions(sql, [{ ...partitionKey(0), nextOffset: 10 }]));
    const records = [13, 14, 20, 21].map((offset) => ({
      offset,
      value: offset === 20 ? "{" : events(`e${offset % 2}`)[0],
    }));
    await worker.store.commit(batchOf(records, [{ ...partitionKey(0), from: 10 }]));
    expect(await ledgerOf(database)).toEqual({
      first_offset: 10,
      next_offset: 22,
      consumed: 4,
      deleted: 0,
      gaps: 8,
      stored: 2,
      duplicates: 1,
      dead_lettered: 1,
    });
    await expectProven(database);
  });

  test("are exact for offsets up to 2^53", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const from = Number.MAX_SAFE_INTEGER - 3;
    await worker.session.run((sql) => enterPartitions(sql, [{ ...partitionKey(0), nextOffset: from }]));
    await worker.store.commit(batchFrom(from, [eventText(), "{"]));
    expect(
      await database.sql`select next_offset::text, (select "offset"::text from dead_letter_events) from pipeline_offsets`,
    ).toMatchObject([{ next_offset: String(from + 2), offset: String(from + 1) }]);
    expect(await worker.session.run((sql) => readPositions(sql, [partitionKey(0)]))).toMatchObject([
      { kind: "stored", reading: 0, nextOffset: from + 2 },
    ]);
  });
});

describe("enterPartitions", () => {
  test("starts a new partition at the beginning of its log, and leaves an existing one unchanged", async () => {
    await using worker = await freshStore();
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const starts = [
      { ...partitionKey(0), nextOffset: 0 },
      { ...partitionKey(1), nextOffset: 17 },
    ];
    await worker.session.run((sql) => enterPartitions(sql, starts));
    const keys = [0, 1, 2].map(partitionKey);
    expect(await worker.session.run((sql) => readPositions(sql, keys))).toEqual([
      stored(2),
      stored(17),
      { kind: "missing" },
    ]);
  });

  test("enters each partition once from several workers in any order", async () => {
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

  test("tells a topic that was created again from the earlier one", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const recreated = { ...partitionKey(0), topicId: "BBBBBBBBQACAAAAAAAAAAA" };
    await worker.session.run((sql) => enterPartitions(sql, [{ ...recreated, nextOffset: 0 }]));
    await worker.store.commit(
      batchOf(
        ["c", "a"].map((id, offset) => ({ offset, value: events(id)[0] })),
        [{ ...recreated, from: 0 }],
      ),
    );
    expect(
      await database.sql`select topic_id, next_offset::int, duplicates::int from pipeline_offsets order by topic_id`,
    ).toMatchObject([
      { topic_id: partitionKey(0).topicId, next_offset: 2, duplicates: 0 },
      { topic_id: recreated.topicId, next_offset: 2, duplicates: 1 },
    ]);
    await expectProven(database);
  });
});

describe("readPositions", () => {
  test("reports a row that a transaction holds as locked until it ends, and waits for none", async () => {
    await using old = await freshStore();
    const { database } = old;
    await using reader = await openStore(database);
    await old.session.run((sql) => enterPartitions(sql, [{ ...partitionKey(1), nextOffset: 0 }]));
    const spans = countedSpans(batchFrom(0, events("a", "b")));
    const held = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const inFlight = old.session.transaction(20_000, async (tx) => {
      await fence(tx, old.session, spans, []);
      await advance(tx, spans, EMPTY_STATE);
      held.resolve();
      await release.promise;
    });
    await held.promise;
    const keys = [1, 0, 9].map(partitionKey);
    const read = () => reader.session.run((sql) => readPositions(sql, keys));
    expect(await read()).toEqual([stored(0), { kind: "locked" }, { kind: "missing" }]);
    release.resolve();
    await inFlight;
    expect(await read()).toEqual([stored(0), stored(2), { kind: "missing" }]);
  });
});

describe("skipGap", () => {
  test("moves the offset and counts the gap as deleted", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const from = { ...partitionKey(0), nextOffset: 2 };
    expect(await worker.session.run((sql) => skipGap(sql, from, 40))).toBe(true);
    expect(await ledgerOf(database)).toMatchObject({ next_offset: 40, consumed: 2, deleted: 38, gaps: 0 });
    await worker.store.commit(batchFrom(40, events("c")));
    await expectProven(database);
  });

  test("changes nothing when another worker has moved the offset", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, events("a", "b")));
    const before = await everything(database);
    const stale = { ...partitionKey(0), nextOffset: 1 };
    expect(await worker.session.run((sql) => skipGap(sql, stale, 40))).toBe(false);
    expect(await everything(database)).toEqual(before);
  });
});
