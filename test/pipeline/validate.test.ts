import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { RejectionReason } from "../../shared/event.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { jsonText } from "./arbitrary-json.ts";
import { eventOf, eventText, eventTextWith, readText, NOW_MS, SKEW_MS } from "./record.ts";

const FAMILY = "👨‍👩‍👧‍👦"; // one character to a reader, 7 code points, 11 UTF-16 units

function expectRejected(text: string, reason: RejectionReason, error: string | RegExp) {
  const rejection = readText(text);
  expect(rejection).toMatchObject({ stage: "validate", reason });
  expect("error" in rejection && rejection.error).toMatch(error);
}

/** A text value of so many code points, each of two UTF-16 units and four bytes. */
const faces = (count: number) => "😀".repeat(count);

test("a valid event is read with every field", () => {
  const text = eventTextWith('{"page": "/a"}', { duration_seconds: 1.5 });
  expect(readText(text)).toEqual({
    eventId: "page_view_1773480413000_k3",
    userId: "user_7",
    eventType: "page_view",
    timestampMs: Date.parse("2026-03-14T09:26:53.123Z"),
    timestampMicros: 456,
    eventDataText: '{"page": "/a"}',
    purchaseAmount: undefined,
    durationMs: 1500,
  });
});

describe("a value that is not an object", () => {
  test.each(["null", "true", "17", '"text"', "[]", `[${eventText()}]`])("is rejected: %s", (text) => {
    expectRejected(text, "not_an_object", "the value is JSON, but not an object");
  });
});

describe("a missing field", () => {
  test.each(["event_id", "user_id", "event_type", "timestamp", "event_data"])("is named: %s", (field) => {
    expectRejected(eventText({ [field]: undefined }), "missing_field", new RegExp(`^${field}: missing$`));
  });

  test("is named together with the others", () => {
    expectRejected(
      eventText({ event_id: undefined, timestamp: undefined }),
      "missing_field",
      "event_id, timestamp: missing",
    );
    expectRejected("{}", "missing_field", "event_id, user_id, event_type, timestamp, event_data: missing");
  });

  test("is missing when only a prototype or an inner object has it", () => {
    expectRejected(`{"__proto__":${eventText()}}`, "missing_field", /^event_id, /);
    expectRejected(`{"event":${eventText()}}`, "missing_field", /^event_id, /);
  });
});

describe("a field of the wrong type", () => {
  const wrong: Record<string, readonly unknown[]> = {
    event_id: [null, 1, true, {}, []],
    user_id: [null, 1, true, {}, []],
    event_type: [null, 1, true, {}, []],
    timestamp: [null, 1_773_480_413, true, {}, []],
    event_data: [null, 1, true, "{}", [], [{}]],
    duration_seconds: ["1", true, {}, []],
  };
  test.each(
    Object.entries(wrong).flatMap(([field, values]) => values.map((value) => [field, value] as const)),
  )("is rejected: %s: %j", (field, value) => {
    expectRejected(eventText({ [field]: value }), "wrong_type", new RegExp(`^${field}: must be `));
  });

  test("counts only as the last of a repeated field", () => {
    expectRejected(`${eventText().slice(0, -1)},"user_id":1}`, "wrong_type", "user_id: must be string");
    expect(eventOf(`{"user_id":1,${eventText().slice(1)}`).userId).toBe("user_7");
  });
});

describe("the length of a field", () => {
  const limits = [
    ["event_id", "eventId", 100],
    ["user_id", "userId", 100],
    ["event_type", "eventType", 50],
  ] as const;
  test.each(limits)("is limited in code points: %s", (field, member, max) => {
    for (const value of ["a", " ", "\u200b", "a".repeat(max), faces(max), "e\u0301".repeat(max / 2)]) {
      expect(eventOf(eventText({ [field]: value }))[member]).toBe(value);
    }
    expectRejected(eventText({ [field]: "" }), "out_of_range", new RegExp(`^${field}: .*fewer`));
    // Code points count, as in PostgreSQL, not UTF-16 units or graphemes.
    for (const value of [
      "a".repeat(max + 1),
      faces(max + 1),
      `e${"\u0301".repeat(max)}`,
      FAMILY.repeat(max / 7 + 1),
    ]) {
      expectRejected(
        eventText({ [field]: value }),
        "out_of_range",
        new RegExp(`^${field}: .*more than ${max}`),
      );
    }
  });

  test("is that of the text as sent, neither trimmed nor normalized", () => {
    for (const id of [" a ", "\n", "e\u0301", "\u00e9", "\ufeff", "ﬁ", "K"]) {
      expect(eventOf(eventText({ event_id: id })).eventId).toBe(id);
    }
  });
});

describe("duration_seconds", () => {
  const withDuration = (text: string) => `${eventText().slice(0, -1)},"duration_seconds":${text}}`;
  test.each<[text: string, ms: number | undefined]>([
    ["0", 0],
    ["-0", 0],
    ["-0.0", 0],
    ["1", 1000],
    ["1.0004", 1000],
    ["1.0005", 1001],
    ["0.0004999", 0],
    ["0.0005", 1],
    ["1e-400", 0],
    ["0.1", 100],
    ["1.005", 1005],
    ["4.35", 4350],
    ["12.3456789", 12_346],
    ["1e9", 1e12],
    ["1000000000", 1e12],
    ["999999999.9996", 1e12],
    ["999999999.9994", 999_999_999_999],
    ["null", undefined],
  ])("is rounded to milliseconds: %s s", (text, ms) => {
    const { durationMs } = eventOf(withDuration(text));
    expect(durationMs).toBe(ms);
    expect(Object.is(durationMs, -0)).toBe(false);
  });

  test("may be absent", () => {
    expect(eventOf(eventText()).durationMs).toBeUndefined();
  });

  test.each(["-1", "-0.001", "-1e-300", "1000000000.0000002", "1e10", "-1e9"])(
    "is out of range: %s",
    (text) => {
      expectRejected(withDuration(text), "out_of_range", /^duration_seconds: must be [<>]= /);
    },
  );

  test.each(["1e400", "-1e400"])("is out of range beyond a double: %s", (text) => {
    expectRejected(withDuration(text), "out_of_range", "duration_seconds: beyond the range of a double");
  });

  test("is a whole number of milliseconds, at most half of one off", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e9, noNaN: true }), (seconds) => {
        const { durationMs } = eventOf(withDuration(JSON.stringify(seconds)));
        expect(Number.isSafeInteger(durationMs)).toBe(true);
        expect(Math.abs(durationMs! - seconds * 1000)).toBeLessThanOrEqual(0.5);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("the timestamp", () => {
  test.each(["", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "1969-12-31T23:59:59Z"])(
    "is rejected: %j",
    (timestamp) => {
      expectRejected(eventText({ timestamp }), "invalid_timestamp", /^timestamp: /);
    },
  );

  test("is compared with the given clock to the millisecond", () => {
    const reader = new EventReader();
    const readAt = (ms: number, skewMs: number) =>
      reader.readValue(Buffer.from(eventText({ timestamp: new Date(ms).toISOString() })), NOW_MS, skewMs);
    for (const skewMs of [0, 1, 90_000, SKEW_MS]) {
      expect(readAt(NOW_MS + skewMs, skewMs)).not.toHaveProperty("reason");
      expect(readAt(NOW_MS + skewMs + 1, skewMs)).toMatchObject({
        stage: "validate",
        reason: "future_timestamp",
      });
    }
    expect(readAt(NOW_MS + 3_600_000, 90_000)).toMatchObject({
      error: "timestamp: 3600 s ahead of the database's clock; at most 90 s are accepted",
    });
  });

  test("is never too old", () => {
    expect(eventOf(eventText({ timestamp: "1970-01-01T00:00:00Z" })).timestampMs).toBe(0);
  });
});

describe("event_data", () => {
  test.each([
    "{}",
    '{"n":12345678901234567890.123456789012345678901234567890}',
    '{"n":1e-30,"m":1E+5,"z":1.500,"minus":-0}',
    '{ "a" : [ 1 , 2 ] }',
    '{"a":1,"a":2}',
    '{"\\u00e9":"\\/"}',
    '{"event_id":1,"__proto__":null}',
    `{"n":[1e999,-1e-999,${"7".repeat(1000)}]}`,
  ])("is kept as sent: %s", (eventData) => {
    expect(eventOf(eventTextWith(eventData)).eventDataText).toBe(eventData);
  });

  test.each([
    ["1e1000", "1e1000"],
    ["1e-1000, deeper", '[{"a":1e-1000}]'],
    ["1001 digits", "7".repeat(1001)],
  ])("is out of range with a number of more than 1000 digits: %s", (_what, value) => {
    const error = "event_data: a number has more than 1000 digits when written out";
    expectRejected(eventTextWith(`{"n":${value}}`), "out_of_range", error);
    // It is the last thing to be wrong, and does not matter where it is not stored.
    expectRejected(eventTextWith(`{"n":${value}}`, { timestamp: "" }), "invalid_timestamp", /^timestamp: /);
    expect(eventOf(`{"extra":${value},${eventText().slice(1)}`)).toEqual(eventOf(eventText()));
  });
});

describe("an unknown field", () => {
  test("is ignored with any value", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("extra", "eventId", "__proto__", "constructor", "reason", ""),
        jsonText(),
        (key, json) => {
          const text = `${eventText().slice(0, -1)},${JSON.stringify(key)}:${json}}`;
          expect(readText(text)).toEqual(eventOf(eventText()));
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("the amount of a purchase", () => {
  const amountOf = (type: string, eventData: string) =>
    eventOf(eventTextWith(eventData, { event_type: type })).purchaseAmount;
  test.each<[type: string, eventData: string, amount: number | undefined]>([
    ["purchase", '{"amount":12.5}', 12.5],
    ["purchase", '{"amount":0}', 0],
    ["purchase", '{"amount":1e400}', Number.POSITIVE_INFINITY],
    ["purchase", '{"amount":1,"amount":2}', 2],
    ["purchase", '{"amount":"12.5"}', undefined],
    ["purchase", '{"amount":null}', undefined],
    ["purchase", '{"amount":[1]}', undefined],
    ["purchase", '{"nested":{"amount":1}}', undefined],
    ["purchase", "{}", undefined],
    ["Purchase", '{"amount":12.5}', undefined],
    ["page_view", '{"amount":12.5}', undefined],
  ])("is read where it is a number: %s %s", (type, eventData, amount) => {
    expect(amountOf(type, eventData)).toBe(amount);
  });
});

describe("validation", () => {
  test("rejects arbitrary JSON without throwing", () => {
    fc.assert(
      fc.property(jsonText(), (text) => {
        expect(readText(text)).toMatchObject({ stage: "validate" });
      }),
      { numRuns: 500 },
    );
  });

  test("names the one wrong field of an event", () => {
    const fields = [
      "event_id",
      "user_id",
      "event_type",
      "timestamp",
      "event_data",
      "duration_seconds",
    ] as const;
    fc.assert(
      fc.property(
        fc.constantFrom(...fields),
        fc.constantFrom(0, -5, "", "x".repeat(101), [], false),
        (field, value) => {
          if (field === "duration_seconds" && value === 0) return;
          if (field === "timestamp" && value === 0) return;
          const rejection = readText(eventText({ [field]: value }));
          expect(rejection).toMatchObject({ stage: "validate" });
          expect("error" in rejection && rejection.error).toStartWith(`${field}: `);
        },
      ),
      { numRuns: 300 },
    );
  });
});
