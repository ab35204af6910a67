// Tests that a partition can be read again from an offset below its stored one, and that no older batch survives that.
import { describe, expect, test } from "bun:test";
import { fence, FenceFailed, type StoredOffset } from "../../shared/store/offsets.ts";
import { readPositions } from "../../shared/store/positions.ts";
import { currentReadings, rewind, startReading } from "../../shared/store/readings.ts";
import { Store } from "../../shared/store/store.ts";
import { batchOf, eventText } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import {
  batchFrom,
  countedSpans,
  everything,
  expectProven,
  freshStore,
  ledgerOf,
  openSession,
  openStore,
  partitionKey,
  STORE_OPTIONS,
  type TestStore,
} from "./pipeline-database.ts";

const events = (...ids: string[]) => ids.map((event_id) => eventText({ event_id }));

function at(nextOffset: number, reading = 0): StoredOffset {
  return { ...partitionKey(0), reading, nextOffset };
}

function start(
  { session }: TestStore,
  from: StoredOffset,
  offset: number,
): Promise<StoredOffset | undefined> {
  return session.run((sql) => startReading(sql, from, offset));
}

/** The session of a command. */
async function openMain({ database }: TestStore) {
  const session = await openSession(database, { role: "main" });
  return { session, [Symbol.asyncDispose]: () => session.close() };
}

/** A batch of the given reading of partition 0. */
function batchOfReading(reading: number, from: number, values: readonly string[]) {
  return batchOf(
    values.map((value, index) => ({ offset: from + index, value })),
    [{ ...partitionKey(0), reading, from }],
  );
}

/** Partition 0, stored up to 4: three events and a dead letter at offset 3. */
async function storedUpTo4(): Promise<TestStore> {
  const worker = await freshStore();
  await worker.store.commit(batchFrom(0, [...events("a", "b", "c"), "{"]));
  return worker;
}

describe("startReading", () => {
  test("closes the account of a partition, and opens another one at the cut", async () => {
    await using worker = await storedUpTo4();
    const { database } = worker;
    const before = await ledgerOf(database);
    expect(await start(worker, at(4), 2)).toEqual(at(2, 1));
    expect(await worker.session.run((sql) => readPositions(sql, [partitionKey(0)]))).toEqual([
      { kind: "stored", reading: 1, nextOffset: 2, leaderEpoch: undefined },
    ]);
    // The log was rewritten: b stands at another offset, and offset 3 holds another broken record.
    await worker.store.commit(batchOfReading(1, 2, [...events("b"), "[", ...events("d")]));
    expect(await ledgerOf(database)).toMatchObject({
      first_offset: 2,
      next_offset: 5,
      consumed: 3,
      stored: 1,
      duplicates: 1,
      dead_lettered: 1,
    });
    const [closed] = await database.sql`
      select first_offset::float8, next_offset::float8, consumed::float8, deleted::float8, gaps::float8, stored::float8,
        duplicates::float8, dead_lettered::float8
      from pipeline_offsets where closed_at is not null`;
    expect({ ...closed }).toEqual(before);
    expect(
      await database.sql`select reading, "offset"::int from dead_letter_events order by reading`,
    ).toMatchObject([
      { reading: 0, offset: 3 },
      { reading: 1, offset: 3 },
    ]);
    await expectProven(database);
  });

  test.each<[what: string, StoredOffset]>([
    ["another offset is stored", at(3)],
    ["the reading is another one", at(4, 1)],
    ["the partition was never read", { ...at(4), partition: 7 }],
    ["the topic is another one", { ...at(4), topicId: "BBBBBBBBQACAAAAAAAAAAA" }],
  ])("changes nothing where %s", async (_what, from) => {
    await using worker = await storedUpTo4();
    const before = await everything(worker.database);
    expect(await start(worker, from, 2)).toBeUndefined();
    expect(await everything(worker.database)).toEqual(before);
  });

  test("starts one reading where two workers find the cut at the same time", async () => {
    await using left = await storedUpTo4();
    await using right = await openStore(left.database);
    const started = await Promise.all([left, right].map((worker) => start(worker, at(4), 2)));
    expect(started.filter((reading) => reading !== undefined)).toEqual([at(2, 1)]);
    expect(
      await left.database
        .sql`select reading, closed_at is null as is_current from pipeline_offsets order by reading`,
    ).toMatchObject([
      { reading: 0, is_current: false },
      { reading: 1, is_current: true },
    ]);
  });

  test.each([
    ["forgets the leader epoch, which belongs to the log before the cut", undefined],
    ["keeps the leader epoch of the records below the cut", 3],
  ])("%s", async (_what, leaderEpoch) => {
    await using worker = await freshStore();
    const batch = batchFrom(0, events("a"));
    for (const span of batch.spans.values()) span.leaderEpoch = 5;
    await worker.store.commit(batch);
    const positions = () => worker.session.run((sql) => readPositions(sql, [partitionKey(0)]));
    expect(await positions()).toMatchObject([{ nextOffset: 1, leaderEpoch: 5 }]);
    await worker.session.run((sql) => startReading(sql, at(1), 0, leaderEpoch));
    expect(await positions()).toMatchObject([{ nextOffset: 0, leaderEpoch }]);
  });
});

describe("rewind", () => {
  const target = (partition: number, offset: number) => ({ ...partitionKey(partition), at: offset });

  test("starts readings of the partitions that are stored beyond their targets, and of no others", async () => {
    await using worker = await freshStore(3);
    await using command = await openMain(worker);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    await worker.store.commit(batchFrom(0, events("c", "d"), 1));
    const { rewound } = await command.session.transaction(20_000, (tx) =>
      rewind(tx, [target(2, 0), target(1, 1), target(0, 2), target(7, 0)]),
    );
    expect(rewound).toEqual([{ ...partitionKey(1), reading: 1, nextOffset: 1, until: 2 }]);
    const again = await command.session.run((sql) => currentReadings(sql, [0, 1, 2].map(partitionKey)));
    expect(again.map(({ reading, nextOffset }) => [reading, nextOffset])).toEqual([
      [0, 2],
      [1, 1],
      [0, 0],
    ]);
  });

  test("ends the sessions of the workers, of idle ones too, and no other session", async () => {
    await using worker = await freshStore();
    await using idle = await openStore(worker.database);
    await using command = await openMain(worker);
    await worker.store.commit(batchFrom(0, events("a")));
    const rewinding = () => command.session.transaction(20_000, (tx) => rewind(tx, [target(0, 0)]));
    expect(await rewinding()).toMatchObject({ workers: 2 });
    await eventually(
      "the workers have lost their sessions",
      () => worker.session.isLost && idle.session.isLost,
    );
    // Nothing is left to rewind.
    await using next = await openStore(worker.database);
    expect(await rewinding()).toEqual({ rewound: [], workers: 0 });
    await next.store.commit(batchOfReading(1, 0, events("a", "b")));
    await expectProven(worker.database);
  });

  test("keeps the leader epoch, by which a log is noticed that was cut below the target", async () => {
    await using worker = await freshStore();
    await using command = await openMain(worker);
    const batch = batchFrom(0, events("a", "b"));
    for (const span of batch.spans.values()) span.leaderEpoch = 5;
    await worker.store.commit(batch);
    await command.session.transaction(20_000, (tx) => rewind(tx, [target(0, 1)]));
    expect(await command.session.run((sql) => readPositions(sql, [partitionKey(0)]))).toEqual([
      { kind: "stored", reading: 1, nextOffset: 1, leaderEpoch: 5 },
    ]);
  });

  test("changes nothing, and ends no session for good, where its transaction is rolled back", async () => {
    await using worker = await storedUpTo4();
    await using command = await openMain(worker);
    const before = await everything(worker.database);
    const failed = command.session.transaction(20_000, async (tx) => {
      await rewind(tx, [target(0, 0)]);
      throw new Error("killed");
    });
    await expect(failed).rejects.toThrow("killed");
    expect(await everything(worker.database)).toEqual(before);
    await using next = await openStore(worker.database);
    await next.store.commit(batchFrom(4, events("e")));
    await expectProven(worker.database);
  });
});

describe("a batch that began before a reading", () => {
  test.each<[what: string, from: number, message: string]>([
    ["at the offset that was stored", 4, "the stored offset is 2, this batch begins at 4"],
    ["below the cut", 1, "the stored offset is 2, this batch begins at 1"],
    // Its records are those of the log before the cut, so the equal offset proves nothing.
    ["exactly at the cut", 2, "is read again, in reading 1, this batch is of reading 0"],
  ])("is refused when it begins %s", async (_what, from, message) => {
    await using worker = await storedUpTo4();
    await using zombie = await openStore(worker.database);
    const batch = batchFrom(from, [...events("old"), "{"]);
    await start(worker, at(4), 2);
    const before = await everything(worker.database);
    await expect(zombie.store.commit(batch)).rejects.toThrow(message);
    expect(await everything(worker.database)).toEqual(before);
  });

  test("is refused when the reading starts while its fence waits for the row", async () => {
    await using worker = await storedUpTo4();
    await using zombie = await openStore(worker.database);
    const { sql } = worker.database;
    let commit: Promise<unknown> | undefined;
    await worker.session.transaction(20_000, async (tx) => {
      expect(await startReading(tx, at(4), 4)).toEqual(at(4, 1));
      commit = zombie.store.commit(batchFrom(4, events("old"))).catch((error: unknown) => error);
      for (;;) {
        const [row] = await sql`
          select count(*)::int as waiting from pg_stat_activity
          where pid = ${zombie.session.backendPid} and wait_event_type = 'Lock'`;
        if (row?.["waiting"] === 1) break;
        await Bun.sleep(10);
      }
    });
    expect(await commit).toBeInstanceOf(FenceFailed);
    await expectProven(worker.database);
    expect(await ledgerOf(worker.database)).toMatchObject({ next_offset: 4, consumed: 0 });
  });

  test("is stored first when it holds the row, and then the reading does not start", async () => {
    await using worker = await storedUpTo4();
    await using other = await openStore(worker.database);
    let started: Promise<StoredOffset | undefined> | undefined;
    await worker.session.transaction(20_000, async (tx) => {
      await fence(tx, worker.session, countedSpans(batchFrom(4, events("d"))), []);
      started = start(other, at(4), 2);
      await tx`update pipeline_offsets set next_offset = 5, gaps = gaps + 1`;
    });
    expect(await started).toBeUndefined();
    expect(await ledgerOf(worker.database)).toMatchObject({ next_offset: 5 });
  });
});

describe("a worker's memory of its last transaction", () => {
  test("still stands when another worker has started a reading of the partition", async () => {
    await using worker = await freshStore(2);
    await worker.store.commit(batchFrom(0, events("a", "b")));
    await using other = await openStore(worker.database);
    await start(other, at(2), 0);
    await worker.store.commit(batchFrom(0, events("c"), 1));
    await new Store(other.session, STORE_OPTIONS).commit(batchOfReading(1, 0, events("a", "d")));
    await expectProven(worker.database);
    expect(await ledgerOf(worker.database)).toMatchObject({ next_offset: 2, stored: 1, duplicates: 1 });
  });
});
