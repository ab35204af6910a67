import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decimalAt, instantAt } from "../../shared/pipeline/byte-parsers.ts";
import { MAX_DEPTH, MAX_VALUE_BYTES } from "../../shared/pipeline/decode.ts";
import { FastReader } from "../../shared/pipeline/fast-reader.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { parseTimestamp } from "../../shared/pipeline/timestamp.ts";
import { addRecord, eventOf, eventText, eventTextWith, validateText, NOW_MS, SKEW_MS } from "./record.ts";

/** Reads a record between two others. */
function readFast(value: string | Uint8Array) {
  const block = new RecordBlock(3);
  for (const [offset, each] of [eventText(), value, eventText()].entries())
    addRecord(block, { offset, value: each });
  return new FastReader().read(block.bytes, block.valueStart[1]!, block.valueEnd[1]!, NOW_MS, SKEW_MS);
}

const withAmount = (members: string, eventType = "purchase") =>
  eventTextWith(`{${members}}`, { event_type: eventType });
const withDuration = (number: string) => `${eventText().slice(0, -1)},"duration_seconds":${number}}`;
const withExtra = (valueText: string) => `${eventText().slice(0, -1)},"extra":${valueText}}`;
const nestedArrays = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("the fast reader on common records", () => {
  test.each<[what: string, text: string]>([
    ["nothing but the needed fields", eventText()],
    ["a duration", eventText({ duration_seconds: 12.3456 })],
    ["the longest duration", withDuration("1000000000")],
    ["a duration of -0", withDuration("-0.0")],
    ["no duration, said so", withDuration("null")],
    [
      "another order",
      JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(eventText())).toReversed())),
    ],
    [
      "white space everywhere",
      JSON.stringify(JSON.parse(eventText({ event_data: { a: [1, { b: null }] } })), null, "\t"),
    ],
    ["white space around", ` \r\n\t${eventText()}\n\n`],
    ["white space in empty containers", eventTextWith("{ }", { extra: [] }).replace("[]", "[ \n]")],
    [
      "unknown fields of every kind",
      eventText({ a: 1, b: "x", c: null, d: true, e: false, f: [], g: { event_id: 1 } }),
    ],
    ["an unknown field with a number of any length", withExtra("-1234567890123456789.5e-400")],
    ["an unknown field twice", withExtra('1,"extra":2')],
    [
      "fields of the same names within event_data",
      eventTextWith('{"event_id":1,"timestamp":[],"event_data":{}}'),
    ],
    [
      "non-ASCII text",
      eventText({ event_id: "é", user_id: "日本", event_type: "😀", event_data: { ß: "ÿ\u{10ffff}" } }),
    ],
    ["non-ASCII text in an unknown field only", eventText({ größe: 1 })],
    ["a byte order mark within text", eventText({ user_id: "\ufeffx" })],
    ["DEL, and line separators", eventText({ user_id: "\u007f\u2028\u2029" })],
    ["ids of 100 bytes", eventText({ event_id: "x".repeat(100), user_id: "é".repeat(50) })],
    ["a type of 50 bytes", eventText({ event_type: "x".repeat(50) })],
    ["the deepest nesting", withExtra(nestedArrays(MAX_DEPTH - 1))],
    ["an amount", withAmount('"amount":100.01')],
    ["a negative amount", withAmount('"amount":-0')],
    ["the last of two amounts", withAmount('"amount":5,"amount":6')],
    ["an amount that is text after one that is not", withAmount('"amount":5,"amount":"6"')],
    ["an amount deeper down", withAmount('"a":{"amount":5},"b":[{"amount":6}]')],
    ["an amount of another field", withAmount('"a":1').replace("{", '{"before":{"amount":1},')],
    ["an amount that no purchase has", withAmount('"amount":1e5', "click")],
    ["a timestamp without a fraction", eventText({ timestamp: "2026-03-14T09:26:53Z" })],
    ["a timestamp of nanoseconds", eventText({ timestamp: "2026-03-14T09:26:53.123456789Z" })],
    ["a timestamp with a zone", eventText({ timestamp: "2026-03-14T09:26:53.5+05:30" })],
    [
      "a timestamp as far ahead as may be",
      eventText({ timestamp: new Date(NOW_MS + SKEW_MS).toISOString() }),
    ],
    ["the largest value", withExtra(`"${"x".repeat(MAX_VALUE_BYTES - withExtra('""').length)}"`)],
  ])("agrees with decode and validate on %s", (_what, text) => {
    expect(readFast(text)).toStrictEqual(eventOf(text));
  });

  test("keeps the digits and the inner white space of event_data", () => {
    const data = '{ "n" : 12345678901234567890.10 , "e":1E400 }';
    expect(readFast(eventTextWith(` \n${data} `))?.eventDataText).toBe(data);
  });

  test("returns the right event types when they replace each other in the interner", () => {
    const reader = new FastReader();
    const block = new RecordBlock(600);
    const types = Array.from(
      { length: 600 },
      (_, n) => ["a-a", "aXa", "aéa", "click", `t${n}t`, "x"][n % 6]!,
    );
    for (const [offset, event_type] of types.entries())
      addRecord(block, { offset, value: eventText({ event_type }) });
    const read = types.map(
      (_, n) =>
        reader.read(block.bytes, block.valueStart[n]!, block.valueEnd[n]!, NOW_MS, SKEW_MS)?.eventType,
    );
    expect(read).toEqual(types);
  });
});

describe("the fast reader on rare events", () => {
  test.each<[what: string, text: string]>([
    ["an escape", eventText({ user_id: "a\nb" })],
    ["an escape in an unknown field", withExtra('"\\u00e9"')],
    ["a repeated field", withDuration('1,"duration_seconds":1')],
    ["an id of more than 100 bytes", eventText({ event_id: "é".repeat(51) })],
    ["a type of more than 50 bytes", eventText({ event_type: "é".repeat(26) })],
    ["a duration with an exponent", withDuration("1e3")],
    ["a duration of 16 digits", withDuration("1.234567890123456")],
    ["an amount with an exponent", withAmount('"amount":1E2')],
    ["an amount of 16 digits", withAmount('"amount":1234567890123456')],
  ])("leaves the event to decode and validate: %s", (_what, text) => {
    expect(readFast(text)).toBeUndefined();
    expect(validateText(text)).not.toHaveProperty("reason");
  });
});

describe("the fast reader on invalid records", () => {
  const bytesIn = (...bytes: number[]) =>
    Buffer.concat([Buffer.from(withExtra('"').slice(0, -1)), Buffer.of(...bytes, 34, 125)]);

  test.each<[what: string, value: string | Uint8Array]>([
    ["nothing", ""],
    ["white space", " \n"],
    ["an empty object", "{}"],
    ["an array", `[${eventText()}]`],
    ["a byte order mark", `\ufeff${eventText()}`],
    ["an object cut off", eventText().slice(0, -1)],
    ["an object cut off after a comma", `${eventText().slice(0, -1)},`],
    ["an object cut off in a string", withExtra('"').slice(0, -1)],
    ["something behind the object", `${eventText()}x`],
    ["another object behind it", `${eventText()}${eventText()}`],
    ["a brace too many", `${eventText()}}`],
    ["a trailing comma", `${eventText().slice(0, -1)},}`],
    ["a key without quotes", `${eventText().slice(0, -1)},a:1}`],
    ["no colon", `${eventText().slice(0, -1)},"a" 1}`],
    ["two colons", `${eventText().slice(0, -1)},"a"::1}`],
    ["a comment", `${eventText().slice(0, -1)}/**/}`],
    ["a no-break space", `\u00a0${eventText()}`],
    ["a byte that is not UTF-8", bytesIn(0xff)],
    ["an overlong NUL", bytesIn(0xc0, 0x80)],
    ["half of a surrogate pair", bytesIn(0xed, 0xa0, 0x80)],
    ["a character cut off", bytesIn(0xe2, 0x82)],
    ["an escaped NUL", withExtra('"\\u0000"')],
    ["one level too deep", withExtra(nestedArrays(MAX_DEPTH))],
    ["objects too deep", withExtra(`${'{"a":'.repeat(MAX_DEPTH)}1${"}".repeat(MAX_DEPTH)}`)],
    ["a value too large", withExtra(`"${"x".repeat(MAX_VALUE_BYTES)}"`)],
    ["an empty id", eventText({ event_id: "" })],
    ["an id that is a number", eventText({ user_id: 7 })],
    ["no type", eventText({ event_type: undefined })],
    ["event_data that is an array", eventTextWith("[]")],
    ["event_data that is null", eventTextWith("null")],
    ["a duration that is true", withDuration("true")],
    ["a duration that is text", withDuration('"1"')],
    ["a negative duration", withDuration("-0.001")],
    ["a duration too long", withDuration("1000000000.01")],
    ["30 February", eventText({ timestamp: "2026-02-30T00:00:00Z" })],
    ["a timestamp without a zone", eventText({ timestamp: "2026-03-14T09:26:53" })],
    ["a timestamp too short to be one", eventText({ timestamp: "2026-03-14T09" })],
    ["a timestamp too far ahead", eventText({ timestamp: new Date(NOW_MS + SKEW_MS + 1).toISOString() })],
    ...[
      "01",
      "-01",
      "1.",
      ".5",
      "-",
      "+1",
      "1e",
      "1e+",
      "1.e5",
      "-.5",
      "0x1",
      "00",
      "1 2",
      "1.2.3",
      "NaN",
      "Infinity",
    ].map((number): [string, string] => [`the number ${number}`, withExtra(number)]),
    ...[
      "tru",
      "True",
      "nul",
      "nulll",
      "falsey",
      "undefined",
      "'a'",
      "",
      "[1,]",
      "[,1]",
      "[1 2]",
      '{"a":1,}',
      "{,}",
      "[}",
    ].map((literal): [string, string] => [`the value ${literal}`, withExtra(literal)]),
    ...Array.from({ length: 32 }, (_, byte): [string, Uint8Array] => [
      `byte ${byte} in a string`,
      bytesIn(byte),
    ]),
  ])("leaves the record to be rejected: %s", (_what, value) => {
    expect(readFast(value)).toBeUndefined();
    expect(validateText(value)).toHaveProperty("reason");
  });

  test("leaves a tombstone to be rejected", () => {
    expect(new FastReader().read(Buffer.from("\n"), -1, -1, NOW_MS, SKEW_MS)).toBeUndefined();
  });

  test("leaves a value without the newline after it to be rejected", () => {
    const bytes = Buffer.from(`${eventText()} `);
    expect(new FastReader().read(bytes, 0, bytes.length - 1, NOW_MS, SKEW_MS)).toBeUndefined();
    expect(new FastReader().read(bytes, 0, bytes.length, NOW_MS, SKEW_MS)).toBeUndefined();
  });
});

test("the fast reader never reads past an incomplete record into the next one", () => {
  const block = new RecordBlock(2);
  const whole = eventText({ event_data: { a: [1, 2, "x y"] } });
  for (let cut = 0; cut < whole.length; cut++) {
    block.clear();
    addRecord(block, { offset: 0, value: whole.slice(0, cut) });
    addRecord(block, { offset: 1, value: whole.slice(cut) });
    const read = new FastReader().read(
      block.bytes,
      block.valueStart[0]!,
      block.valueEnd[0]!,
      NOW_MS,
      SKEW_MS,
    );
    expect(read).toBeUndefined();
  }
});

test("the fast reader returns copies that outlast the block", () => {
  const block = new RecordBlock(1);
  addRecord(block, { offset: 0, value: eventText({ event_type: "click" }) });
  const read = new FastReader().read(block.bytes, block.valueStart[0]!, block.valueEnd[0]!, NOW_MS, SKEW_MS);
  block.bytes.fill(0);
  expect(read).toStrictEqual(eventOf(eventText({ event_type: "click" })));
});

describe("the byte parsers", () => {
  test("read a decimal of at most 15 digits like JSON.parse, and refuse a longer one", () => {
    const digits = fc.stringMatching(/^\d{1,17}$/);
    const decimals = fc
      .tuple(fc.constantFrom("", "-"), digits, fc.option(digits, { nil: undefined }))
      .map(
        ([sign, whole, fraction]) => `${sign}${BigInt(whole)}${fraction === undefined ? "" : `.${fraction}`}`,
      );
    fc.assert(
      fc.property(decimals, (text) => {
        const isShort = text.replaceAll(/\D/g, "").length <= 15;
        expect(decimalAt(Buffer.from(`${text},`), 0)).toBe(
          isShort ? (JSON.parse(text) as number) : Number.NaN,
        );
      }),
      { numRuns: 20_000 },
    );
  });

  test("read a timestamp from bytes as from text", () => {
    const part = (digits: number, max: number) =>
      fc.integer({ min: 0, max }).map((value) => String(value).padStart(digits, "0"));
    const texts = fc
      .tuple(
        part(4, 9999).map((year) => `${year}-`),
        part(2, 13).map((month) => `${month}-`),
        part(2, 32),
        fc.constantFrom("T", "T", "t", " "),
        part(2, 24).map((hour) => `${hour}:`),
        part(2, 60).map((minute) => `${minute}:`),
        part(2, 60),
        fc.oneof(fc.constant(""), fc.stringMatching(/^[.,]\d{0,9}$/)),
        fc.constantFrom(
          "Z",
          "Z",
          "+00:00",
          "+00:00",
          "-00:00",
          "+01:00",
          "-0930",
          "z",
          "",
          "Z ",
          "+00:0",
          "+00:00 ",
        ),
      )
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(texts, (text) => {
        expect(instantAt(Buffer.from(`${text}"`), 0, text.length)).toEqual(parseTimestamp(text));
      }),
      { numRuns: 20_000 },
    );
  });
});
