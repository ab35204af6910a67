import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  Batch,
  type BatchEvent,
  OffsetRegression,
  type PartitionKey,
  storedBy,
} from "../../shared/pipeline/batch.ts";
import { addRecord, batchOf, eventText, CLOCK, type TestRecord } from "./record.ts";

const start = (partition: number, from = 0, topic = "user-events"): PartitionKey & { from: number } => ({
  topic,
  topicId: `id-of-${topic}`,
  partition,
  from,
});

const withId = (event_id: string) => eventText({ event_id });
const places = (events: readonly BatchEvent[]) =>
  events
    .map(({ event, span, offset }) => `${event.eventId} ${span.topic}[${span.partition}]@${offset}`)
    .toSorted();
const accounts = (batch: Batch) =>
  [...batch.spans.values()].map(({ partition, from, to, consumed, duplicates, deadLettered }) => ({
    partition,
    from,
    to,
    consumed,
    duplicates,
    deadLettered,
  }));

describe("spans", () => {
  test("each partition has one, from where it was to after its last record", () => {
    const batch = batchOf(
      [
        { slot: 0, offset: 5, value: withId("a") },
        { slot: 1, offset: 0, value: withId("b") },
        { slot: 0, offset: 6, value: withId("c") },
      ],
      [start(3, 5), start(1, 0)],
    );
    expect([...batch.spans.values()]).toEqual([
      { ...start(3, 5), to: 7, consumed: 2, duplicates: 0, deadLettered: 0, bytes: 2 * withId("a").length },
      { ...start(1, 0), to: 1, consumed: 1, duplicates: 0, deadLettered: 0, bytes: withId("b").length },
    ]);
  });

  test("offsets without a record are within the span and not consumed", () => {
    const batch = batchOf(
      [
        { offset: 12, value: withId("a") },
        { offset: 13, value: withId("b") },
        { offset: 20, value: withId("c") },
      ],
      [start(0, 10)],
    );
    expect(accounts(batch)).toEqual([
      { partition: 0, from: 10, to: 21, consumed: 3, duplicates: 0, deadLettered: 0 },
    ]);
  });

  test("grow while the block is filled, and each record is read once", () => {
    const batch = new Batch(10);
    batch.open(CLOCK, 17);
    expect([batch.isEmpty, batch.openedAtMs]).toEqual([true, 17]);
    const asked: number[] = [];
    const read = () =>
      batch.read((slot) => {
        asked.push(slot);
        return start(slot, 100);
      });
    for (const offset of [100, 101, 102]) {
      addRecord(batch.block, { offset, value: withId(`e${offset}`) });
      read();
      read();
    }
    expect(accounts(batch)).toMatchObject([{ from: 100, to: 103, consumed: 3 }]);
    expect([batch.records, batch.isEmpty, asked]).toEqual([3, false, [0]]);
  });

  test("records of a partition that is no longer read are passed over", () => {
    const batch = batchOf(
      [
        { slot: 1, offset: 7, value: withId("gone") },
        { slot: 0, offset: 0, value: withId("a") },
        { slot: 1, offset: 8, value: "not JSON" },
      ],
      [start(0)],
    );
    expect(accounts(batch)).toEqual([
      { partition: 0, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 0 },
    ]);
    expect(places(batch.events)).toEqual(["a user-events[0]@0"]);
    expect(batch.deadLetters()).toEqual([]);
  });

  test("offsets up to 2^53 are exact", () => {
    const offset = Number.MAX_SAFE_INTEGER - 1;
    expect(accounts(batchOf([{ offset, value: withId("a") }], [start(0, offset)]))).toMatchObject([
      { from: offset, to: offset + 1 },
    ]);
  });
});

describe("out of order", () => {
  test.each<[what: string, offsets: number[], from: number]>([
    ["the same record again", [5, 5], 5],
    ["an earlier record", [5, 6, 4], 4],
    ["a record before the stored offset", [4], 5],
  ])("%s", (_what, offsets, from) => {
    const records = offsets.map((offset) => ({ offset, value: withId(`e${offset}`) }));
    expect(() => batchOf(records, [start(0, from)])).toThrow(OffsetRegression);
  });

  test("the message says where", () => {
    const records = [7, 9, 8].map((offset) => ({ offset, value: withId(`e${offset}`) }));
    expect(() => batchOf(records, [start(2, 7)])).toThrow("user-events[2] delivered offset 8 after 9");
  });

  test("partitions do not mix", () => {
    const records = [9, 3].map((offset, slot) => ({ slot, offset, value: withId(`e${slot}`) }));
    expect(batchOf(records, [start(0, 9), start(1, 3)]).events).toHaveLength(2);
  });
});

describe("duplicates within a batch", () => {
  test("the lowest offset stays, and its partition pays for the others", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: withId(offset === 1 ? "b" : "a") })),
      [start(0)],
    );
    expect(places(batch.distinct())).toEqual(["a user-events[0]@0", "b user-events[0]@1"]);
    expect(accounts(batch)).toMatchObject([{ consumed: 3, duplicates: 1 }]);
  });

  test("of two partitions the lower one keeps it, in whichever order they came", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const batch = batchOf(
        order.map((slot) => ({ slot, offset: slot === 0 ? 900 : 3, value: withId("a") })),
        [start(2, 0), start(7, 0)],
      );
      expect(places(batch.distinct())).toEqual(["a user-events[2]@900"]);
      expect(accounts(batch).toSorted((a, b) => a.partition - b.partition)).toMatchObject([
        { partition: 2, duplicates: 0 },
        { partition: 7, duplicates: 1 },
      ]);
    }
  });

  test("partitions are compared as numbers, and topics before partitions", () => {
    const records = [0, 1, 2].map((slot) => ({ slot, offset: 0, value: withId("a") }));
    expect(places(batchOf(records, [start(10), start(9), start(11)]).distinct())).toEqual([
      "a user-events[9]@0",
    ]);
    const topics = [start(0, 0, "b"), start(5, 0, "a"), start(1, 0, "c")];
    expect(places(batchOf(records, topics).distinct())).toEqual(["a a[5]@0"]);
  });

  test("without any, all events are distinct", () => {
    const batch = batchOf(
      [0, 1].map((offset) => ({ offset, value: withId(`e${offset}`) })),
      [start(0)],
    );
    expect(batch.distinct()).toEqual(batch.events);
  });

  test("counting twice counts the same", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: withId("a") })),
      [start(0)],
    );
    batch.distinct();
    batch.distinct();
    expect(accounts(batch)).toMatchObject([{ consumed: 3, duplicates: 2 }]);
  });

  test("of any records, of each id exactly the lowest place stays, and the account adds up", () => {
    const record = fc.record({
      slot: fc.integer({ min: 0, max: 3 }),
      id: fc.constantFrom("a", "b", "c", "__proto__", ""),
    });
    const starts = [start(10), start(2), start(2, 0, "another"), start(0, 0, "zz")];
    fc.assert(
      fc.property(fc.array(record, { maxLength: 30 }), (records) => {
        const next = starts.map(() => 0);
        const batch = batchOf(
          records.map(
            ({ slot, id }): TestRecord => ({
              slot,
              offset: next[slot]!++,
              value: id === "" ? "{" : withId(id),
            }),
          ),
          starts,
        );
        const rank = ({ span, offset }: BatchEvent) =>
          `${span.topic} ${String(span.partition).padStart(3, "0")} ${String(offset).padStart(9, "0")}`;
        const lowest = [...Map.groupBy(batch.events, ({ event }) => event.eventId).values()].map(
          (same) => same.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1))[0]!,
        );
        const distinct = batch.distinct();
        expect(places(distinct)).toEqual(places(lowest));
        for (const span of batch.spans.values()) {
          expect(storedBy(span)).toBe(distinct.filter((event) => event.span === span).length);
          expect(span.deadLettered).toBe(
            batch
              .deadLetters()
              .filter(({ partition, topic }) => partition === span.partition && topic === span.topic).length,
          );
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("dead letters", () => {
  const headers = [{ name: "trace", value: Buffer.from([1, 2]) }];
  const records: TestRecord[] = [
    { offset: 40, value: undefined, key: "user_1", headers },
    { offset: 41, value: "", key: "" },
    { offset: 42, value: Buffer.from([0xff, 0x00]), key: Buffer.from([0xfe]) },
    { offset: 43, value: withId("good"), key: "user_2", headers },
    { offset: 44, value: "{}" },
  ];

  test("carry where they are from, their bytes, and why", () => {
    const letters = batchOf(records, [start(1, 40)]).deadLetters();
    expect(letters).toMatchObject([
      {
        topic: "user-events",
        topicId: "id-of-user-events",
        partition: 1,
        offset: 40,
        value: undefined,
        key: Buffer.from("user_1"),
        headers: Buffer.from('[["trace","AQI="]]'),
        rejection: {
          stage: "decode",
          reason: "tombstone",
        },
      },
      {
        offset: 41,
        value: Buffer.alloc(0),
        key: Buffer.alloc(0),
        headers: undefined,
        rejection: { reason: "not_json" },
      },
      {
        offset: 42,
        value: Buffer.from([0xff, 0x00]),
        key: Buffer.from([0xfe]),
        rejection: { reason: "not_utf8" },
      },
      {
        offset: 44,
        value: Buffer.from("{}"),
        key: undefined,
        rejection: { stage: "validate", reason: "missing_field" },
      },
    ]);
  });

  test("are consumed and counted, and their reasons can be told", () => {
    const batch = batchOf(records, [start(1, 40)]);
    expect(accounts(batch)).toEqual([
      { partition: 1, from: 40, to: 45, consumed: 5, duplicates: 0, deadLettered: 4 },
    ]);
    expect(batch.rejections()).toEqual(
      (
        [
          [40, "tombstone"],
          [41, "not_json"],
          [42, "not_utf8"],
          [44, "missing_field"],
        ] as const
      ).map(([offset, reason]) => ({ topic: "user-events", partition: 1, offset, reason })),
    );
  });

  test("are copies: they outlast the batch", () => {
    const batch = batchOf(records, [start(1, 40)]);
    const letters = batch.deadLetters();
    batch.clear();
    addRecord(batch.block, { offset: 0, value: "X".repeat(2000) });
    expect(letters[2]?.value).toEqual(Buffer.from([0xff, 0x00]));
  });

  test("a batch of nothing else has a span and no events", () => {
    const batch = batchOf([{ offset: 0, value: undefined }], [start(0)]);
    expect([batch.isEmpty, batch.distinct(), accounts(batch)]).toEqual([
      false,
      [],
      [{ partition: 0, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 1 }],
    ]);
  });
});

describe("an event that PostgreSQL refuses", () => {
  test("becomes a dead letter of the stage store, with its bytes", () => {
    const batch = batchOf(
      [0, 1].map((offset) => ({ offset, value: withId(`e${offset}`), key: `k${offset}` })),
      [start(0)],
    );
    batch.refuse([batch.events[1]!], ({ event }) => `${event.eventId} is too much`);
    expect(places(batch.distinct())).toEqual(["e0 user-events[0]@0"]);
    expect(accounts(batch)).toMatchObject([{ consumed: 2, duplicates: 0, deadLettered: 1 }]);
    expect(batch.deadLetters()).toMatchObject([
      {
        offset: 1,
        key: Buffer.from("k1"),
        value: Buffer.from(withId("e1")),
        rejection: { stage: "store", reason: "refused_by_database", error: "e1 is too much" },
      },
    ]);
    expect(batch.rejections()).toEqual([
      { topic: "user-events", partition: 0, offset: 1, reason: "refused_by_database" },
    ]);
  });

  test("makes room for another of its id, which is no duplicate any more", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: withId("a") })),
      [start(0)],
    );
    const [first] = batch.distinct();
    batch.refuse([first!], () => "no");
    expect(places(batch.distinct())).toEqual(["a user-events[0]@1"]);
    expect(accounts(batch)).toMatchObject([{ consumed: 3, duplicates: 1, deadLettered: 1 }]);
  });
});

describe("partitions that are taken out", () => {
  const records: TestRecord[] = [
    { slot: 0, offset: 0, value: withId("a") },
    { slot: 1, offset: 0, value: withId("a") },
    { slot: 1, offset: 1, value: "not JSON" },
    { slot: 0, offset: 1, value: undefined },
    { slot: 1, offset: 2, value: withId("b") },
    { slot: 0, offset: 2, value: withId("c") },
  ];

  test("leave with all that was read of them, and the others stay as they were", () => {
    const batch = batchOf(records, [start(0), start(1)]);
    batch.drop([0, 5]);
    expect(places(batch.distinct())).toEqual(["a user-events[1]@0", "b user-events[1]@2"]);
    expect(accounts(batch)).toEqual([
      { partition: 1, from: 0, to: 3, consumed: 3, duplicates: 0, deadLettered: 1 },
    ]);
    expect(batch.deadLetters()).toMatchObject([{ partition: 1, offset: 1 }]);
  });

  test("may be given back, and are read from their stored offset again", () => {
    const batch = new Batch(20);
    batch.open(CLOCK, 0);
    for (const record of records) addRecord(batch.block, record);
    batch.read((slot) => start(slot));
    batch.drop([1]);
    for (const record of records.filter(({ slot }) => slot === 1)) addRecord(batch.block, record);
    batch.read((slot) => start(slot));
    expect(places(batch.distinct())).toEqual([
      "a user-events[0]@0",
      "b user-events[1]@2",
      "c user-events[0]@2",
    ]);
    expect(accounts(batch)).toEqual([
      { partition: 0, from: 0, to: 3, consumed: 3, duplicates: 0, deadLettered: 1 },
      { partition: 1, from: 0, to: 3, consumed: 3, duplicates: 1, deadLettered: 1 },
    ]);
  });

  test("all of them leave no span, but a batch that has read", () => {
    const batch = batchOf(records, [start(0), start(1)]);
    batch.drop([0, 1]);
    expect([batch.spans.size, batch.events, batch.deadLetters(), batch.isEmpty]).toEqual([0, [], [], false]);
  });
});

test("escapes are seen in the events, where ids may need quoting; not in what is rejected", () => {
  expect(batchOf([{ offset: 0, value: withId("plain") }], [start(0)]).hasEscapes).toBe(false);
  expect(batchOf([{ offset: 0, value: '{"\\n":1}' }], [start(0)]).hasEscapes).toBe(false);
  const mixed = ['quote"', "plain"].map((id, offset) => ({ offset, value: withId(id) }));
  expect(batchOf(mixed, [start(0)]).hasEscapes).toBe(true);
});

test("the clock that it is judged by is whole milliseconds", () => {
  expect(batchOf([], [], { processedAtMs: 1_773_480_413_589.7, maxFutureSkewMs: 5 }).clock).toEqual({
    processedAtMs: 1_773_480_413_589,
    maxFutureSkewMs: 5,
  });
});

test("cleared, it is as new", () => {
  const batch = batchOf(
    [
      { slot: 0, offset: 0, value: withId('quote"'), headers: [] },
      { slot: 1, offset: 0, value: "not JSON" },
    ],
    [start(0), start(1)],
  );
  batch.clear();
  expect([batch.isEmpty, batch.records, batch.hasEscapes, batch.spans.size]).toEqual([true, 0, false, 0]);
  expect([batch.events, batch.deadLetters(), batch.distinct(), batch.transformationSeconds]).toEqual([
    [],
    [],
    [],
    0,
  ]);
  addRecord(batch.block, { offset: 0, value: "{}" });
  batch.read(() => start(4));
  expect(accounts(batch)).toEqual([
    { partition: 4, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 1 },
  ]);
  expect(batch.deadLetters()[0]?.headers).toBeUndefined();
});
