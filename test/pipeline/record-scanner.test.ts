import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { EVENT_DATA, NONE, RecordScanner } from "../../shared/pipeline/record-scanner.ts";
import { jsonObjectText, jsonText } from "./arbitrary-json.ts";

/** One scanner for all texts: what it found in one must not show in another. */
const scanner = new RecordScanner();

const BEFORE = '{"event_data":1}\n';

/** Scans a text between two others, so that both its ends must be found. */
function scan(text: string): RecordScanner {
  const before = Buffer.from(BEFORE);
  const bytes = Buffer.concat([before, Buffer.from(`${text}\n`), before]);
  const isJson = scanner.scan(bytes, before.length, bytes.length - before.length - 1);
  if (!isJson) throw new Error(`not JSON: ${text}`);
  return scanner;
}

/** The text of event_data. */
function member(text: string): string | undefined {
  const { starts, ends } = scan(text);
  const offset = Buffer.byteLength(BEFORE);
  const [start, end] = [starts[EVENT_DATA]!, ends[EVENT_DATA]!];
  return start === NONE ? undefined : Buffer.from(text).toString("utf8", start - offset, end - offset);
}

describe("the member of the outermost object", () => {
  test.each<[text: string, member: string | undefined]>([
    ['{"event_data":{"a":1}}', '{"a":1}'],
    [' { "event_data" : { "a" : 1 } , "b" : 2 } ', '{ "a" : 1 }'],
    ['{\n\t"event_data"\r\n:\t[1, 2]\n}', "[1, 2]"],
    ['{"event_data":{}}', "{}"],
    ['{"event_data":12.50e+1}', "12.50e+1"],
    ['{"event_data":null,"b":1}', "null"],
    ['{"event_data":"a,b}"}', '"a,b}"'],
    ['{"a":{"event_data":1},"b":2}', undefined],
    ['{"a":["event_data",1],"event_data":2}', "2"],
    ['{"a":"event_data","b":":","event_data":{"c":"}"}}', '{"c":"}"}'],
    ['{"event_data":{"event_data":{"event_data":1}}}', '{"event_data":{"event_data":1}}'],
    ['{"a":"\\"event_data\\":{","event_data":1}', "1"],
    ['{"a":"\\\\","event_data":"\\\\\\""}', '"\\\\\\""'],
    ['{"a\\\\":1,"event_data":2}', "2"],
    ['{"event_dat":1,"event_data_":2,"xevent_data":3}', undefined],
    ['[{"event_data":1}]', undefined],
    ['["event_data",{"event_data":1}]', undefined],
    ['"event_data"', undefined],
    ["17", undefined],
    ["{}", undefined],
  ])("is found in %j", (text, expected) => {
    expect(member(text)).toBe(expected);
  });

  test.each<[what: string, text: string, member: string]>([
    ["the last of a repeated key", '{"event_data":{"a":1},"b":0,"event_data":{"a":2}}', '{"a":2}'],
    ["the last of a repeated key, and the shorter one", '{"event_data":{"a":[1,2,3]},"event_data":1}', "1"],
    [
      "the last of a repeated key, with other keys between",
      '{"event_data":1,"b":2,"event_data":3,"c":4}',
      "3",
    ],
    ["the last of a repeated key, written with escapes", '{"event_data":1,"\\u0065vent_data":2}', "2"],
    ["the last of a repeated key, after one with escapes", '{"event\\u005fdata":1,"event_data":2}', "2"],
  ])("is %s", (_what, text, expected) => {
    expect(member(text)).toBe(expected);
  });

  test("equals the member of the parsed object once it is parsed", () => {
    let found = 0;
    fc.assert(
      fc.property(fc.oneof(jsonObjectText(), jsonText()), (text) => {
        const value = JSON.parse(text) as unknown;
        const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
        const has = isObject && Object.hasOwn(value, "event_data");
        const cut = member(text);
        expect(cut !== undefined).toBe(has);
        if (!has) return;
        found++;
        expect(JSON.parse(cut!)).toEqual((value as Record<string, unknown>)["event_data"]);
        // Exactly the text of the member, without white space around it.
        expect(text).toContain(cut!);
        expect(cut!.trim()).toBe(cut!);
      }),
      { numRuns: 3000 },
    );
    expect(found).toBeGreaterThan(300);
  });

  test("keeps the digits of its numbers", () => {
    const text = '{"event_data": {"n": 12345678901234567890.1234567890123456789, "e": 1E-7, "z": 1.50}}';
    expect(member(text)).toBe('{"n": 12345678901234567890.1234567890123456789, "e": 1E-7, "z": 1.50}');
  });
});

describe("the depth of a JSON text", () => {
  test.each<[text: string, depth: number]>([
    ["1", 0],
    ['"[[[["', 0],
    ["[]", 1],
    ["{}", 1],
    ['{"a":"{{{"}', 1],
    ['[[],[[]],{"a":[]}]', 3],
    ['{"[{\\"[":{"a":["]}"]}}', 3],
  ])("is counted in %s", (text, depth) => {
    expect(scan(text).depth).toBe(depth);
  });

  test("equals the depth of the parsed value unless a repeated key hides the deepest part", () => {
    fc.assert(
      fc.property(jsonText(), (text) => {
        const { depth } = scan(text);
        const parsed = depthOf(JSON.parse(text));
        if (hasRepeatedKey(text)) expect(depth).toBeGreaterThanOrEqual(parsed);
        else expect(depth).toBe(parsed);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("a number of many digits", () => {
  test.each<[what: string, eventData: string, isFound: boolean]>([
    ["1000 digits", `{"n":${"9".repeat(1000)}}`, false],
    ["1001 digits", `{"n":${"9".repeat(1001)}}`, true],
    ["1000 digits, sign and point aside", `{"n":-${"9".repeat(999)}.0}`, false],
    ["1001 digits, sign and point aside", `{"n":-${"9".repeat(1000)}.0}`, true],
    ["999 zeros", '{"n":[{"m":1e999}]}', false],
    ["1000 zeros", '{"n":[{"m":1e1000}]}', true],
    ["the most that jsonb takes", '{"n":1e131071}', true],
    ["one before a short one", '{"n":1E+131071,"m":1}', true],
    ["999 digits behind the point", '{"n":1e-999}', false],
    ["1000 digits behind the point", '{"n":1e-1000}', true],
    ["zero with a large exponent", '{"n":0e99999}', false],
    ["zero with many zeros behind the point", '{"n":0e-1000}', true],
    ["an exponent beyond a double", `{"n":1e${"9".repeat(400)}}`, true],
    ["a negative exponent beyond a double", `{"n":1e-${"9".repeat(400)}}`, true],
    ["zeros that the exponent takes away", `{"n":0.${"0".repeat(998)}1e1998}`, false],
    ["a text that looks like one", '{"n":"1e131071","1e131071":1}', false],
    // jsonb drops the value, but reads it before.
    ["one that a repeated key hides", '{"n":1e131071,"n":1}', true],
  ])("is found in event_data exactly where its text is too long: %s", (_what, eventData, isFound) => {
    for (const text of [
      `{"event_data":${eventData}}`,
      `{"event_data":{"n":1e5000},"a":1e5000,"event_data":${eventData},"b":[1e5000]}`,
    ]) {
      expect(scan(text).longNumber !== NONE).toBe(isFound);
    }
  });
});

describe("an escape that PostgreSQL cannot store", () => {
  /** The byte of the text where the first one is. */
  const unstorableAt = (text: string) => {
    const at = scan(text).tokens.unstorableEscape;
    return at < 0 ? undefined : at - Buffer.byteLength(BEFORE);
  };

  test.each<[text: string, at: number | undefined]>([
    ['"\\u0000"', 1],
    ['"abc\\u0000"', 4],
    ['"\\\\u0000"', undefined],
    ['"\\\\\\u0000"', 3],
    ['"\\u0001"', undefined],
    ['"\\u00000"', 1],
    ['"\\n\\u0020\\t"', undefined],
    ['"\\ud83d\\ude00"', undefined],
    ['"\\uD83D\\uDE00"', undefined],
    ['"\\ud83d"', 1],
    ['"\\ude00"', 1],
    ['"\\ude00\\ud83d"', 1],
    ['"\\ud83d\\ud83d\\ude00"', 1],
    ['"\\ud83d\\ude00\\ude00"', 13],
    ['"\\ud83d \\ude00"', 1],
    ['"\\ud83d\\n"', 1],
    ['"\\ud83d\\\\ude00"', 1],
    ['"\\udbff\\udfff\\ud7ff\\ue000"', undefined],
    ['"\\ud800\\udbff"', 1],
    // the halves of a pair in two strings
    ['["\\ud83d","\\ude00"]', 2],
    // a repeated key that JSON.parse drops reaches jsonb
    ['{"a":"\\u0000","a":1}', 6],
    ['{"\\u0000":1}', 2],
  ])("is found exactly when it is there: %s", (text, at) => {
    expect(JSON.parse(text)).toBeDefined();
    expect(unstorableAt(text)).toBe(at);
  });

  test("is reported exactly when a string of the parsed value cannot be stored", () => {
    let unstorable = 0;
    fc.assert(
      fc.property(jsonText({ doubtful: true }), (text) => {
        // The oracle parses the strings one by one, so that it also sees those that a repeated key hides.
        const strings = text.match(/"(?:[^"\\]|\\.)*"/g) ?? [];
        const expected = strings.some((string) => {
          const parsed = JSON.parse(string) as string;
          return parsed.includes("\0") || !parsed.isWellFormed();
        });
        if (expected) unstorable++;
        expect(unstorableAt(text) !== undefined).toBe(expected);
      }),
      { numRuns: 3000 },
    );
    expect(unstorable).toBeGreaterThan(100);
  });
});

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

/** True where parsing drops a member, by the number of colons outside strings. */
function hasRepeatedKey(text: string): boolean {
  const members = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, "").split(":").length - 1;
  return members !== membersOf(JSON.parse(text));
}

function membersOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce((sum: number, item) => sum + membersOf(item), own);
}
