import { describe, expect, test } from "bun:test";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { EventRows } from "../../shared/pipeline/event-rows.ts";
import { readCopyInput } from "../simulation/postgres/copy-input.ts";
import { enriched, eventOf, eventText, eventTextWith, eventWithId, NOW_MS, SKEW_MS } from "./record.ts";

const reader = new EventReader();

/** Adds events; one with another clock may have any timestamp. */
function add(rows: EventRows, texts: readonly string[], nowMs = NOW_MS): void {
  for (const [record, text] of texts.entries()) {
    const value = Buffer.from(`${text}\n`);
    expect(reader.scan(value, 0, value.length - 1, nowMs, SKEW_MS)).toBeUndefined();
    rows.add(reader, record, NOW_MS);
  }
}

const idsIn = (rows: EventRows, indexes: readonly number[]) =>
  readCopyInput(rows.copyInput(indexes)).map(({ eventId }) => eventId);

const FAR_MS = Date.parse("9999-12-31T00:00:00Z");

describe("a row", () => {
  test.each([
    ["no duration", eventText()],
    ["a duration", eventText({ duration_seconds: 1.2345 })],
    ["a duration of -0", eventText({ duration_seconds: 0 }).replace(":0}", ":-0.0}")],
    ["the longest duration", eventText({ duration_seconds: 1e9 })],
    ["texts beyond ASCII", eventText({ event_id: "日本 ü", user_id: "\u{1f600}", event_type: "été" })],
    ["escaped texts", eventText({ event_id: '"\\\n', user_id: "\t", event_type: "\b" })],
    ["escapes of letters", eventText({ event_id: "K" }).replace('"K"', '"\\u00e9\\ud83d\\ude00K"')],
    ["a purchase of high value", eventTextWith('{"amount":100.01,"a":[1]}', { event_type: "purchase" })],
    ["another purchase", eventTextWith('{ "amount" : 100 }', { event_type: "purchase" })],
    ["long event_data", eventTextWith(`{"text":"${"ü".repeat(5000)}"}`)],
    ["a time to the microsecond", eventText({ timestamp: "2026-03-14T09:26:53.999999Z" })],
    ["the first time", eventText({ timestamp: "1970-01-01T00:00:00Z" })],
    ["a time before 2000", eventText({ timestamp: "1999-12-31T23:59:59.999999Z" })],
    ["a time beyond 2^53 microseconds", eventText({ timestamp: "9999-12-31T23:59:59.999999Z" })],
  ])("of an event with %s says what the event says", (_, text) => {
    const rows = new EventRows(2);
    // A row stands behind another one.
    add(rows, [eventWithId("first"), text], FAR_MS);
    const event = enriched(eventOf(text, FAR_MS));
    expect(rows.event(1)).toEqual(event);
    const { eventId, userId, eventType, eventDataText, durationMs } = event;
    expect(readCopyInput(rows.copyInput([0, 1]))[1]).toMatchObject({
      eventId,
      userId,
      eventType,
      eventDataText,
      durationSeconds: durationMs === undefined ? undefined : durationMs / 1000,
      timestamp: expect.stringContaining(text.match(/"timestamp":"([^Z"]*)/)![1]!) as string,
      processedAt: "2026-03-14T09:26:53.589Z",
    });
    expect([rows.userId[1], rows.eventType[1], rows.timestampMs[1], rows.record[1]]).toEqual([
      userId,
      eventType,
      event.timestampMs,
      1,
    ]);
  });
});

describe("the input of a COPY", () => {
  test("has all rows, or some", () => {
    const rows = new EventRows(10);
    add(rows, ["a", "b", "c", "d"].map(eventWithId));
    expect(idsIn(rows, [0, 1, 2, 3])).toEqual(["a", "b", "c", "d"]);
    expect(idsIn(rows, [0, 3])).toEqual(["a", "d"]);
    expect(idsIn(rows, [])).toEqual([]);
    // It can be repeated, and continued.
    add(rows, [eventWithId("e")]);
    expect(idsIn(rows, [0, 1, 2, 3, 4])).toEqual(["a", "b", "c", "d", "e"]);
  });

  test("has no rows of a batch that was cleared", () => {
    const rows = new EventRows(10);
    add(rows, ["a", "b"].map(eventWithId));
    rows.clear();
    expect([rows.count, rows.userId.length, rows.eventType.length]).toEqual([0, 0, 0]);
    add(rows, [eventWithId("c")]);
    expect(idsIn(rows, [0])).toEqual(["c"]);
    expect(rows.event(0).eventId).toBe("c");
  });

  test("comes from a buffer that grows and shrinks", () => {
    const rows = new EventRows(12, 64);
    const texts = Array.from({ length: 10 }, (_, i) =>
      eventTextWith(`{"text":"${"x".repeat(1_000_000)}"}`, { event_id: `e${i}` }),
    );
    add(rows, texts);
    expect(idsIn(rows, Array.from(texts.keys()))).toEqual(texts.map((__, i) => `e${i}`));
    const { bytesAllocated } = rows;
    // Half of it in each step.
    for (let i = 0; i < 30; i++) rows.clear();
    expect(bytesAllocated).toBeGreaterThan(10_000_000);
    expect(rows.bytesAllocated).toBe(64);
    add(rows, [eventWithId("small")]);
    expect(idsIn(rows, [0])).toEqual(["small"]);
  });
});

describe("repeated ids", () => {
  test("are noticed, however they are written, until the rows are cleared", () => {
    const rows = new EventRows(1000);
    add(
      rows,
      Array.from({ length: 900 }, (_, i) => eventWithId(`e${i}`)),
    );
    expect(rows.hasRepeatedIds).toBe(false);
    add(rows, [eventWithId("e17").replace("e17", "\\u006517")]);
    expect(rows.hasRepeatedIds).toBe(true);
    rows.clear();
    expect(rows.hasRepeatedIds).toBe(false);
    add(rows, [eventWithId("e17")]);
    expect(rows.hasRepeatedIds).toBe(false);
  });
});
