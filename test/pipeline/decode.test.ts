import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decode, MAX_DEPTH, MAX_VALUE_BYTES } from "../../shared/pipeline/decode.ts";
import { jsonText } from "./arbitrary-json.ts";
import { decodeText, eventText } from "./record.ts";

function rejectionOf(text: string | Uint8Array) {
  const decoded = decodeText(text);
  if (!("reason" in decoded)) throw new Error(`accepted as ${JSON.stringify(decoded)}`);
  return decoded;
}

const inQuotes = (...bytes: number[]) => Buffer.from([0x22, ...bytes, 0x22]);

describe("a tombstone", () => {
  test("is rejected as a tombstone", () => {
    expect(decode(Buffer.from("{}"), -1, -1)).toMatchObject({ stage: "decode", reason: "tombstone" });
  });

  test("differs from an empty value", () => {
    expect(rejectionOf("").reason).toBe("not_json");
  });
});

describe("a large value", () => {
  const sized = (bytes: number) => `"${"a".repeat(bytes - 2)}"`;

  test("is accepted at the limit", () => {
    expect(decodeText(sized(MAX_VALUE_BYTES))).toMatchObject({ hasEscapes: false });
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
    const bytes = Buffer.concat([Buffer.from([0xff]), Buffer.from("{}"), Buffer.from([0xff])]);
    expect(decode(bytes, 1, 3)).toMatchObject({ value: {} });
  });

  test("differs from one with the character U+FFFD", () => {
    expect(decodeText('"\ufffd"')).toMatchObject({ value: "\ufffd" });
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
    expect(decodeText(nested(MAX_DEPTH))).toMatchObject({ hasEscapes: false });
    expect(decodeText(`{"event_data":${nested(MAX_DEPTH - 1)}}`)).toMatchObject({ hasEscapes: false });
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
    expect(decodeText(`"${"[{".repeat(1000)}"`)).toMatchObject({ hasEscapes: false });
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

  test.each(['{"a":"\\\\u0000"}', '{"a":"\\ud83d\\ude00"}', '{"a":"\\u0001\\u001f\\u007f"}'])(
    "differs from storable text: %s",
    (text) => {
      expect(decodeText(text)).toMatchObject({ value: JSON.parse(text), hasEscapes: true });
    },
  );
});

describe("decode", () => {
  test("returns the result of JSON.parse, with the text of event_data", () => {
    const text = '{"event_data": {"n": 1.50, "big": 12345678901234567890} , "b": "\\n"}';
    expect(decodeText(text)).toEqual({
      value: { event_data: { n: 1.5, big: Number("12345678901234567890") }, b: "\n" },
      eventDataText: '{"n": 1.50, "big": 12345678901234567890}',
      hasEscapes: true,
    });
  });

  test("does not depend on the bytes around the value in the buffer", () => {
    fc.assert(
      fc.property(jsonText(), fc.string(), fc.string(), (text, before, after) => {
        const [head, body, tail] = [before, text, after].map((part) => Buffer.from(part));
        const decoded = decode(
          Buffer.concat([head!, body!, tail!]),
          head!.length,
          head!.length + body!.length,
        );
        expect(decoded).toMatchObject({ hasEscapes: text.includes("\\") });
        expect("value" in decoded && decoded.value).toEqual(JSON.parse(text));
      }),
      { numRuns: 1000 },
    );
  });

  test("accepts or rejects any bytes without throwing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const decoded = decodeText(bytes);
        expect("reason" in decoded || "value" in decoded).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
