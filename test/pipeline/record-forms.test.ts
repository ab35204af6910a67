import { describe, expect, test } from "bun:test";
import { MAX_DEPTH, MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { eventText, eventTextWith, NOW_MS, readText, SKEW_MS } from "./record.ts";
import { readPlainly } from "./plain-reader.ts";

function expectAgreement(value: string | Uint8Array) {
  const read = readText(value);
  expect(read).toStrictEqual(readPlainly(Buffer.from(value as Uint8Array), NOW_MS, SKEW_MS));
  return read;
}

const withAmount = (members: string, eventType = "purchase") =>
  eventTextWith(`{${members}}`, { event_type: eventType });
const withDuration = (number: string) => `${eventText().slice(0, -1)},"duration_seconds":${number}}`;
const withExtra = (valueText: string) => `${eventText().slice(0, -1)},"extra":${valueText}}`;
const nestedArrays = (depth: number) => "[".repeat(depth) + "]".repeat(depth);

describe("an event in a common form", () => {
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
  ])("is read as by JSON.parse: %s", (_what, text) => {
    expect(expectAgreement(text)).not.toHaveProperty("reason");
  });
});

describe("an event in a rare form", () => {
  test.each<[what: string, text: string]>([
    ["an escape", eventText({ user_id: "a\nb" })],
    ["an escape in an unknown field", withExtra('"\\u00e9"')],
    ["every short escape", eventText({ user_id: '"\\/\b\f\n\r\t' }).replace("/", "\\/")],
    [
      "an id of 100 code points in 1200 bytes",
      eventText({ user_id: "" }).replace('user_id":"', `$&${"\\ud83d\\ude00".repeat(100)}`),
    ],
    ["an escape in the timestamp", eventText().replace('"2026-', '"\\u00320\\u00326-')],
    [
      "escapes in the keys",
      eventText()
        .replace("user_id", "\\u0075ser\\u005Fid")
        .replace("event_data", "\\u0065\\u0076\\u0065\\u006e\\u0074\\u005f\\u0064\\u0061\\u0074\\u0061"),
    ],
    ["an escape in the key amount", withAmount('"amoun\\u0074":101')],
    ["an escape in the value purchase", withAmount('"amount":101').replace("purchase", "p\\u0075rchase")],
    ["a repeated field, once with escapes", eventText().replace("{", '{"\\u0075ser_id":"first",')],
    [
      "an amount of two event_data, the last without",
      withAmount('"a":1').replace("{", '{"event_data":{"amount":101},'),
    ],
    ["a repeated field", withDuration('1,"duration_seconds":1')],
    ["an id of more than 100 bytes", eventText({ event_id: "é".repeat(51) })],
    ["a type of more than 50 bytes", eventText({ event_type: "é".repeat(26) })],
    ["a duration with an exponent", withDuration("1e3")],
    ["a duration of 16 digits", withDuration("1.234567890123456")],
    ["an amount with an exponent", withAmount('"amount":1E2')],
    ["an amount of 16 digits", withAmount('"amount":1234567890123456')],
  ])("is read as by JSON.parse: %s", (_what, text) => {
    expect(expectAgreement(text)).not.toHaveProperty("reason");
  });
});

describe("a record that is not an event", () => {
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
  ])("is rejected with the same reason and error as by JSON.parse: %s", (_what, value) => {
    expect(expectAgreement(value)).toHaveProperty("reason");
  });
});
