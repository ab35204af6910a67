import { describe, expect, test } from "bun:test";
import { distinctEvents, places, spanCounts, spanStart } from "./batch-view.ts";
import { batchOf, eventWithId, type TestRecord } from "./record.ts";

describe("the dead letters of a batch", () => {
  const headers = [{ name: "trace", value: Buffer.from([1, 2]) }];
  const records: TestRecord[] = [
    { offset: 40, value: undefined, key: "user_1", headers },
    { offset: 41, value: "", key: "" },
    { offset: 42, value: Buffer.from([0xff, 0x00]), key: Buffer.from([0xfe]) },
    { offset: 43, value: eventWithId("good"), key: "user_2", headers },
    { offset: 44, value: "{}" },
  ];

  test("carry their origin, their bytes and their reason", () => {
    const letters = [...batchOf(records, [spanStart(1, 40)]).rejected.deadLetters()];
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

  test("count as consumed, and are listed with their reasons", () => {
    const batch = batchOf(records, [spanStart(1, 40)]);
    expect(spanCounts(batch)).toEqual([
      { partition: 1, from: 40, to: 45, consumed: 5, duplicates: 0, deadLettered: 4 },
    ]);
    expect(batch.rejected.places()).toEqual(
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

  test("make a batch with a span and without events when there is nothing else", () => {
    const batch = batchOf([{ offset: 0, value: undefined }], [spanStart(0)]);
    expect([batch.isEmpty, distinctEvents(batch), spanCounts(batch)]).toEqual([
      false,
      [],
      [{ partition: 0, from: 0, to: 1, consumed: 1, duplicates: 0, deadLettered: 1 }],
    ]);
  });
});

describe("an event that PostgreSQL refuses", () => {
  test("becomes a dead letter of the stage store, with its bytes", () => {
    const batch = batchOf(
      [0, 1].map((offset) => ({ offset, value: eventWithId(`e${offset}`), key: `k${offset}` })),
      [spanStart(0)],
    );
    batch.refuse([batch.events[1]!], ({ event }) => `${event.eventId} is too much`);
    expect(places(distinctEvents(batch))).toEqual(["e0 user-events[0]@0"]);
    expect(spanCounts(batch)).toMatchObject([{ consumed: 2, duplicates: 0, deadLettered: 1 }]);
    expect([...batch.rejected.deadLetters()]).toMatchObject([
      {
        offset: 1,
        key: Buffer.from("k1"),
        value: Buffer.from(eventWithId("e1")),
        rejection: { stage: "store", reason: "refused_by_database", error: "e1 is too much" },
      },
    ]);
    expect(batch.rejected.places()).toEqual([
      { topic: "user-events", partition: 0, offset: 1, reason: "refused_by_database" },
    ]);
  });

  test("gives way to another event of its id, which then is no duplicate", () => {
    const batch = batchOf(
      [0, 1, 2].map((offset) => ({ offset, value: eventWithId("a") })),
      [spanStart(0)],
    );
    const [first] = distinctEvents(batch);
    batch.refuse([first!], () => "no");
    expect(places(distinctEvents(batch))).toEqual(["a user-events[0]@1"]);
    expect(spanCounts(batch)).toMatchObject([{ consumed: 3, duplicates: 1, deadLettered: 1 }]);
  });
});
