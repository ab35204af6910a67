import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Batch, type BatchEvent } from "../../shared/pipeline/batch.ts";
import { OffsetRegression } from "../../shared/pipeline/span.ts";
import { distinctEvents, places, spanCounts, spanStart } from "./batch-view.ts";
import { addRecord, batchOf, CLOCK, eventWithId, type TestRecord } from "./record.ts";

describe("the spans of a batch", () => {
  test("reach from the stored offset to after the last record, one for each partition", () => {
    const batch = batchOf(
      [
        { slot: 0, offset: 5, value: eventWithId("a") },
        { slot: 1, offset: 0, value: eventWithId("b") },
        { slot: 0, offset: 6, value: eventWithId("c") },
      ],
      [spanStart(3, 5), spanStart(1, 0)],
    );
    expect([...batch.spans.values()]).toEqual([
      {
        ...spanStart(3, 5),
        to: 7,
        leaderEpoch: undefined,
        consumed: 2,
        gaps: 0,
        stored: 0,
        duplicates: 0,
        deadLettered: 0,
        bytes: 2 * eventWithId("a").length,
      },
      {
        ...spanStart(1, 0),
        to: 1,
        leaderEpoch: undefined,
        consumed: 1,
        gaps: 0,
        stored: 0,
        duplicates: 0,
        deadLettered: 0,
        bytes: eventWithId("b").length,
      },
    ]);
  });

  test("include offsets without a record, and do not count them as consumed", () => {
    const batch = batchOf(
      [
        { offset: 12, value: eventWithId("a") },
        { offset: 13, value: eventWithId("b") },
        { offset: 20, value: eventWithId("c") },
      ],
      [spanStart(0, 10)],
    );
    expect(spanCounts(batch)).toEqual([
      { partition: 0, from: 10, to: 21, consumed: 3, duplicates: 0, deadLettered: 0 },
    ]);
  });

  test("grow with the block, and each record is read once", () => {
    const batch = new Batch(10);
    batch.open(CLOCK, 17);
    expect([batch.isEmpty, batch.openedAtMs]).toEqual([true, 17]);
    const asked: number[] = [];
    const read = () =>
      batch.read((slot) => {
        asked.push(slot);
        return spanStart(slot, 100);
      });
    for (const offset of [100, 101, 102]) {
      addRecord(batch.block, { offset, value: eventWithId(`e${offset}`) });
      read();
      read();
    }
    expect(spanCounts(batch)).toMatchObject([{ from: 100, to: 103, consumed: 3 }]);
    expect([batch.records, batch.isEmpty, asked]).toEqual([3, false, [0]]);
  });

  test("leave out the records of a partition that is no longer read", () => {
    const batch = batchOf(
      [
        { slot: 1, offset: 7, value: eventWithId("gone") },
        { slot: 0, offset: 0, value: eventWithId("a") },
        { slot: 1, offset: 8, value: "not JSON" },
      ],
      [spanStart(0)],
    );
    expect(spanCounts(batch)).toEqual([
      { partition: 0, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 0 },
    ]);
    expect(places(batch.events)).toEqual(["a user-events[0]@0"]);
    expect([...batch.rejected.deadLetters()]).toEqual([]);
  });

  test("are exact up to 2^53", () => {
    const offset = Number.MAX_SAFE_INTEGER - 1;
    expect(spanCounts(batchOf([{ offset, value: eventWithId("a") }], [spanStart(0, offset)]))).toMatchObject([
      { from: offset, to: offset + 1 },
    ]);
  });
});

describe("a regression of offsets", () => {
  test.each<[what: string, offsets: number[], from: number]>([
    ["the same record again", [5, 5], 5],
    ["an earlier record", [5, 6, 4], 4],
    ["a record before the stored offset", [4], 5],
  ])("is refused: %s", (_what, offsets, from) => {
    const records = offsets.map((offset) => ({ offset, value: eventWithId(`e${offset}`) }));
    expect(() => batchOf(records, [spanStart(0, from)])).toThrow(OffsetRegression);
  });

  test("names the partition and the offsets", () => {
    const records = [7, 9, 8].map((offset) => ({ offset, value: eventWithId(`e${offset}`) }));
    expect(() => batchOf(records, [spanStart(2, 7)])).toThrow("user-events[2] delivered offset 8 after 9");
  });

  test("concerns one partition only", () => {
    const records = [9, 3].map((offset, slot) => ({ slot, offset, value: eventWithId(`e${slot}`) }));
    expect(batchOf(records, [spanStart(0, 9), spanStart(1, 3)]).events).toHaveLength(2);
  });
});

describe("the distinct events of a batch", () => {
  test("have the lowest offset, and their partition counts the duplicates", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: eventWithId(offset === 1 ? "b" : "a") })),
      [spanStart(0)],
    );
    expect(places(distinctEvents(batch))).toEqual(["a user-events[0]@0", "b user-events[0]@1"]);
    expect(spanCounts(batch)).toMatchObject([{ consumed: 3, duplicates: 1 }]);
  });

  test("come from the lower of two partitions, in any order of delivery", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const batch = batchOf(
        order.map((slot) => ({ slot, offset: slot === 0 ? 900 : 3, value: eventWithId("a") })),
        [spanStart(2, 0), spanStart(7, 0)],
      );
      expect(places(distinctEvents(batch))).toEqual(["a user-events[2]@900"]);
      expect(spanCounts(batch).toSorted((a, b) => a.partition - b.partition)).toMatchObject([
        { partition: 2, duplicates: 0 },
        { partition: 7, duplicates: 1 },
      ]);
    }
  });

  test("are chosen by topic, then by partition as a number", () => {
    const records = [0, 1, 2].map((slot) => ({ slot, offset: 0, value: eventWithId("a") }));
    expect(places(distinctEvents(batchOf(records, [spanStart(10), spanStart(9), spanStart(11)])))).toEqual([
      "a user-events[9]@0",
    ]);
    const topics = [spanStart(0, 0, "b"), spanStart(5, 0, "a"), spanStart(1, 0, "c")];
    expect(places(distinctEvents(batchOf(records, topics)))).toEqual(["a a[5]@0"]);
  });

  test("are all events when no id repeats", () => {
    const batch = batchOf(
      [0, 1].map((offset) => ({ offset, value: eventWithId(`e${offset}`) })),
      [spanStart(0)],
    );
    expect(distinctEvents(batch)).toEqual(batch.events);
  });

  test("stay the same when they are counted twice", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: eventWithId("a") })),
      [spanStart(0)],
    );
    batch.distinct();
    batch.distinct();
    expect(spanCounts(batch)).toMatchObject([{ consumed: 3, duplicates: 2 }]);
  });

  test("are the lowest place of each id in any records, and the counts add up", () => {
    const record = fc.record({
      slot: fc.integer({ min: 0, max: 3 }),
      id: fc.constantFrom("a", "b", "c", "__proto__", ""),
    });
    const starts = [spanStart(10), spanStart(2), spanStart(2, 0, "another"), spanStart(0, 0, "zz")];
    fc.assert(
      fc.property(fc.array(record, { maxLength: 30 }), (records) => {
        const next = starts.map(() => 0);
        const batch = batchOf(
          records.map(
            ({ slot, id }): TestRecord => ({
              slot,
              offset: next[slot]!++,
              value: id === "" ? "{" : eventWithId(id),
            }),
          ),
          starts,
        );
        const rank = ({ span, offset }: BatchEvent) =>
          `${span.topic} ${String(span.partition).padStart(3, "0")} ${String(offset).padStart(9, "0")}`;
        const lowest = [...Map.groupBy(batch.events, ({ event }) => event.eventId).values()].map(
          (same) => same.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))[0]!,
        );
        const distinct = distinctEvents(batch);
        expect(places(distinct)).toEqual(places(lowest));
        for (const span of batch.spans.values()) {
          expect(span.consumed - span.duplicates - span.deadLettered).toBe(
            distinct.filter((event) => event.span === span).length,
          );
          expect(span.deadLettered).toBe(
            [...batch.rejected.deadLetters()].filter(
              ({ partition, topic }) => partition === span.partition && topic === span.topic,
            ).length,
          );
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("partitions dropped from a batch", () => {
  const records: TestRecord[] = [
    { slot: 0, offset: 0, value: eventWithId("a") },
    { slot: 1, offset: 0, value: eventWithId("a") },
    { slot: 1, offset: 1, value: "not JSON" },
    { slot: 0, offset: 1, value: undefined },
    { slot: 1, offset: 2, value: eventWithId("b") },
    { slot: 0, offset: 2, value: eventWithId("c") },
  ];

  test("leave with all of their records, and the others stay unchanged", () => {
    const batch = batchOf(records, [spanStart(0), spanStart(1)]);
    batch.drop([0, 5]);
    expect(places(distinctEvents(batch))).toEqual(["a user-events[1]@0", "b user-events[1]@2"]);
    expect(spanCounts(batch)).toEqual([
      { partition: 1, from: 0, to: 3, consumed: 3, duplicates: 0, deadLettered: 1 },
    ]);
    expect([...batch.rejected.deadLetters()]).toMatchObject([{ partition: 1, offset: 1 }]);
  });

  test("can return, and are read from their stored offset again", () => {
    const batch = new Batch(20);
    batch.open(CLOCK, 0);
    for (const record of records) addRecord(batch.block, record);
    batch.read((slot) => spanStart(slot));
    batch.drop([1]);
    for (const record of records.filter(({ slot }) => slot === 1)) addRecord(batch.block, record);
    batch.read((slot) => spanStart(slot));
    expect(places(distinctEvents(batch))).toEqual([
      "a user-events[0]@0",
      "b user-events[1]@2",
      "c user-events[0]@2",
    ]);
    expect(spanCounts(batch)).toEqual([
      { partition: 0, from: 0, to: 3, consumed: 3, duplicates: 0, deadLettered: 1 },
      { partition: 1, from: 0, to: 3, consumed: 3, duplicates: 1, deadLettered: 1 },
    ]);
  });

  test("leave a batch without spans that is not empty when all are dropped", () => {
    const batch = batchOf(records, [spanStart(0), spanStart(1)]);
    batch.drop([0, 1]);
    expect([batch.spans.size, batch.events, [...batch.rejected.deadLetters()], batch.isEmpty]).toEqual([
      0,
      [],
      [],
      false,
    ]);
  });
});

test("a batch reports escapes in ids, and not in rejected records", () => {
  expect(batchOf([{ offset: 0, value: eventWithId("plain") }], [spanStart(0)]).hasEscapes).toBe(false);
  expect(batchOf([{ offset: 0, value: '{"\\n":1}' }], [spanStart(0)]).hasEscapes).toBe(false);
  const mixed = ['quote"', "plain"].map((id, offset) => ({ offset, value: eventWithId(id) }));
  expect(batchOf(mixed, [spanStart(0)]).hasEscapes).toBe(true);
});

test("a batch cuts its clock to whole milliseconds", () => {
  expect(batchOf([], [], { processedAtMs: 1_773_480_413_589.7, maxFutureSkewMs: 5 }).clock).toEqual({
    processedAtMs: 1_773_480_413_589,
    maxFutureSkewMs: 5,
  });
});

test("a cleared batch equals a new one", () => {
  const batch = batchOf(
    [
      { slot: 0, offset: 0, value: eventWithId('quote"'), headers: [] },
      { slot: 1, offset: 0, value: "not JSON" },
    ],
    [spanStart(0), spanStart(1)],
  );
  batch.clear();
  expect([batch.isEmpty, batch.records, batch.hasEscapes, batch.spans.size]).toEqual([true, 0, false, 0]);
  expect([
    batch.events,
    [...batch.rejected.deadLetters()],
    distinctEvents(batch),
    batch.transformationSeconds,
  ]).toEqual([[], [], [], 0]);
  addRecord(batch.block, { offset: 0, value: "{}" });
  batch.read(() => spanStart(4));
  expect(spanCounts(batch)).toEqual([
    { partition: 4, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 1 },
  ]);
  expect([...batch.rejected.deadLetters()][0]?.headers).toBeUndefined();
});
