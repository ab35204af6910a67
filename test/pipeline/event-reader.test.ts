import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EventReader, MAX_DEPTH, MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { isRejection } from "../../shared/pipeline/rejection.ts";
import { eventOf, eventText, eventTextWith, NOW_MS, readText, SKEW_MS } from "./record.ts";

function rejectionOf(text: string | Uint8Array) {
  const read = readText(text);
  if (!isRejection(read)) throw new Error(`accepted as ${JSON.stringify(read)}`);
  return read;
}

/** An event with this text as the value of a member that is not stored. */
const withExtra = (valueText: string) => `${eventText().slice(0, -1)},"extra":${valueText}}`;

const inQuotes = (...bytes: number[]) => Buffer.from([0x22, ...bytes, 0x22]);

describe("a tombstone", () => {
  test("is rejected as a tombstone", () => {
    expect(new EventReader().readValue(undefined, NOW_MS, SKEW_MS)).toMatchObject({
      stage: "decode",
      reason: "tombstone",
    });
  });

  test("differs from an empty value", () => {
    expect(rejectionOf("").reason).toBe("not_json");
  });
});

describe("a large value", () => {
  const sized = (bytes: number) => withExtra(`"${"a".repeat(bytes - withExtra('""').length)}"`);

  test("is accepted at the limit", () => {
    expect(eventOf(sized(MAX_VALUE_BYTES))).toEqual(eventOf(eventText()));
  });

  test("is rejected one byte above the limit, with both sizes in the error", () => {
    expect(rejectionOf(sized(MAX_VALUE_BYTES + 1))).toEqual({
      stage: "decode",
      reason: "too_large",
      error: `the value has ${MAX_VALUE_BYTES + 1} bytes; at most ${MAX_VALUE_BYTES} are accepted`,
    });
  });

  test("is measured in bytes, not in characters", () => {
    expect(rejectionOf(`"${"é".repeat(MAX_VALUE_BYTES / 2)}"`).reason).toBe("too_large");
  });
});

describe("a value that is not UTF-8", () => {
  test.each<[what: string, bytes: Buffer]>([
    ["a byte that never occurs", inQuotes(0xff)],
    ["Latin-1", Buffer.from('"é"', "latin1")],
    ["a continuation byte alone", inQuotes(0x80)],
    ["a character cut off", inQuotes(0xe2, 0x82)],
    ["a character cut off at the very end", Buffer.from([0x22, 0xc3])],
    ["NUL in two bytes", inQuotes(0xc0, 0x80)],
    ["a slash in three bytes", inQuotes(0xe0, 0x80, 0xaf)],
    ["half of a surrogate pair", inQuotes(0xed, 0xa0, 0x80)],
    ["a surrogate pair, each half by itself (CESU-8)", inQuotes(0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80)],
    ["beyond U+10FFFF", inQuotes(0xf4, 0x90, 0x80, 0x80)],
    ["UTF-16", Buffer.from("\ufeff{}", "utf16le")],
  ])("is rejected: %s", (_what, bytes) => {
    expect(rejectionOf(bytes)).toMatchObject({ stage: "decode", reason: "not_utf8" });
  });

  test("is recognized by its own bytes, not by those around it", () => {
    const text = Buffer.from(eventText());
    const bytes = Buffer.concat([Buffer.of(0xff), text, Buffer.from("\n"), Buffer.of(0xff)]);
    const read = new EventReader().read(bytes, 1, 1 + text.length, NOW_MS, SKEW_MS);
    expect(read).toEqual(eventOf(eventText()));
  });

  test("differs from one with the character U+FFFD", () => {
    expect(eventOf(eventText({ user_id: "\ufffd" })).userId).toBe("\ufffd");
  });
});

describe("a value that is not JSON", () => {
  test.each([
    " ",
    "{",
    '{"a":1,}',
    "[1,]",
    "{'a':1}",
    "{a:1}",
    "01",
    "1.",
    ".5",
    "+1",
    "-",
    "1e",
    "0x10",
    "NaN",
    "Infinity",
    "undefined",
    "True",
    "nul",
    "1 2",
    "{}{}",
    "{}\n{}",
    "// comment\n1",
    '"\t"',
    '"\u0000"',
    '"\u001f"',
    '"\\x41"',
    '"\\u00G0"',
    '"\\u{41}"',
    '"abc',
    "\u00a01",
    "1\u0000",
    "\v1",
    '\ufeff{"a":1}',
  ])("is rejected: %j", (text) => {
    expect(rejectionOf(text)).toMatchObject({ stage: "decode", reason: "not_json" });
  });

  test("leaves nothing of the payload in the error", () => {
    expect(rejectionOf('{"password":"secret",}').error).toBe("the value (22 bytes) is not JSON");
  });
});

describe("a deeply nested value", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

  test("is accepted at the limit", () => {
    expect(rejectionOf(nested(MAX_DEPTH)).reason).toBe("not_an_object");
    expect(eventOf(withExtra(nested(MAX_DEPTH - 1)))).toEqual(eventOf(eventText()));
  });

  test.each([MAX_DEPTH + 1, 10_000, MAX_VALUE_BYTES / 2])("is rejected at %d levels", (depth) => {
    expect(rejectionOf(nested(depth))).toMatchObject({
      stage: "decode",
      reason: "too_deep",
      error: `the value nests ${depth} levels deep; at most ${MAX_DEPTH} are accepted`,
    });
  });

  test("is rejected when it nests objects", () => {
    const depth = MAX_DEPTH + 1;
    expect(rejectionOf(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`).reason).toBe("too_deep");
  });

  test("is rejected when a repeated key hides the depth", () => {
    expect(rejectionOf(`{"a":${nested(MAX_DEPTH)},"a":1}`).reason).toBe("too_deep");
  });

  test("does not count braces in strings", () => {
    expect(eventOf(withExtra(`"${"[{".repeat(1000)}"`))).toEqual(eventOf(eventText()));
  });

  test("is not JSON where a bracket is missing, however deep it is", () => {
    for (const depth of [MAX_DEPTH + 1, MAX_VALUE_BYTES / 2]) {
      expect(rejectionOf(nested(depth).slice(1)).reason).toBe("not_json");
      expect(rejectionOf(nested(depth).slice(0, -1)).reason).toBe("not_json");
    }
  });
});

describe("text that PostgreSQL cannot hold", () => {
  test.each([
    eventText({ event_id: "a\0b" }),
    eventText({ anything: "\0" }),
    eventText({ event_data: { deep: [{ "\0": 1 }] } }),
    eventText({ user_id: "\ud83d" }),
    eventText({ event_data: { half: "\ude00" } }),
    '{"a":"\\u0000","a":1}',
  ])("is rejected: %s", (text) => {
    expect(rejectionOf(text)).toMatchObject({ stage: "decode", reason: "unstorable_text" });
  });

  test("is located by its character, not its byte", () => {
    expect(rejectionOf('{"é😀":"\\u0000"}').error).toBe("the value holds \\u0000 at character 8");
    expect(rejectionOf('"\\ud83d"').error).toBe("the value holds half of a surrogate pair at character 1");
  });

  test.each(['"\\\\u0000"', '"\\ud83d\\ude00"', '"\\u0001\\u001f\\u007f"'])(
    "differs from storable text: %s",
    (text) => {
      expect(eventOf(withExtra(text))).toEqual(eventOf(eventText()));
      expect(eventOf(eventText({ user_id: JSON.parse(text) as string })).userId).toBe(JSON.parse(text));
    },
  );
});

describe("an event reader", () => {
  test("keeps the digits and the inner white space of event_data", () => {
    const data = '{ "n" : 12345678901234567890.10 , "e":1E400 }';
    expect(eventOf(eventTextWith(` \n${data} `)).eventDataText).toBe(data);
  });

  test("returns the right event types and users when they replace each other in the interner", () => {
    const reader = new EventReader();
    const texts = Array.from(
      { length: 600 },
      (_, n) => ["a-a", "aXa", "aéa", 'cl"ck', `t${n}t`, "x"][n % 6]!,
    );
    for (const text of texts) {
      const value = Buffer.from(eventText({ event_type: text, user_id: text }));
      expect(reader.readValue(value, NOW_MS, SKEW_MS)).toMatchObject({ eventType: text, userId: text });
    }
  });

  test("returns copies that outlast the buffer", () => {
    const text = eventText({ event_type: "click" });
    const bytes = Buffer.from(`${text}\n`);
    const read = new EventReader().read(bytes, 0, text.length, NOW_MS, SKEW_MS);
    bytes.fill(0);
    expect(read).toStrictEqual(eventOf(text));
  });

  test("reports escapes in an id, a user or a type, and nowhere else", () => {
    const reader = new EventReader();
    const hasEscapes = (text: string) => {
      expect(reader.readValue(Buffer.from(text), NOW_MS, SKEW_MS)).not.toHaveProperty("reason");
      return reader.hasEscapes;
    };
    expect(hasEscapes(eventText())).toBe(false);
    for (const member of ["event_id", "user_id", "event_type"]) {
      expect(hasEscapes(eventText({ [member]: 'quote"' }))).toBe(true);
      expect(hasEscapes(eventText())).toBe(false);
    }
    expect(hasEscapes(eventText({ event_data: { '"': "\\" }, extra: "\n" }))).toBe(false);
    expect(hasEscapes(eventText().replace('"timestamp":"2', '"timestamp":"\\u0032'))).toBe(false);
  });

  test("never reads past an incomplete record into the next one", () => {
    const whole = eventText({ event_data: { a: [1, 2, "x \u00e9 y\n"] } });
    for (let cut = 0; cut < whole.length; cut++) {
      const bytes = Buffer.from(`${whole.slice(0, cut)}\n${whole.slice(cut)}\n`);
      const end = Buffer.byteLength(whole.slice(0, cut));
      const read = new EventReader().read(bytes, 0, end, NOW_MS, SKEW_MS);
      expect(read).toMatchObject({ reason: "not_json" });
    }
  });

  test("refuses a value without the newline after it", () => {
    const text = eventText();
    expect(() => new EventReader().read(Buffer.from(`${text} `), 0, text.length, NOW_MS, SKEW_MS)).toThrow(
      "no newline",
    );
  });

  test("accepts or rejects any bytes without throwing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(isRejection(readText(bytes))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
