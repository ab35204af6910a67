// Lists records that are not events, each with its reason, and events at the edge of what is accepted.
import type { RejectionReason, RejectionStage } from "../../shared/event.ts";
import type { RecordHeader } from "../../shared/pipeline/record-headers.ts";
import { REFUSED_DATA } from "../support/refused-content.ts";

const MAX_VALUE_BYTES = 1_048_576;
const MAX_DEPTH = 100;
const DAY_MS = 86_400_000;

export interface BadRecord {
  readonly name: string;
  readonly reason: RejectionReason;
  readonly value: Uint8Array | undefined;
}

const GOOD = {
  event_id: "event_1",
  user_id: "user_1",
  event_type: "click",
  timestamp: "2026-01-01T10:00:00Z",
  event_data: { page_url: "/" },
};

/** A good event with the changes of `change`, each any JSON text. */
function text(change: Readonly<Record<string, string | undefined>> = {}): string {
  const fields = {
    ...Object.fromEntries(Object.entries(GOOD).map(([name, value]) => [name, JSON.stringify(value)])),
    ...change,
  };
  const members = Object.entries(fields).flatMap(([name, json]) =>
    json === undefined ? [] : [`"${name}":${json}`],
  );
  return `{${members.join(",")}}`;
}

function nested(levels: number): string {
  return "[".repeat(levels) + "]".repeat(levels);
}

/** A good event of exactly so many bytes, through a field that is not stored. */
function ofSize(bytes: number, id: string): Buffer {
  const empty = text({ event_id: `"${id}"`, filler: '""' });
  return Buffer.from(text({ event_id: `"${id}"`, filler: `"${"x".repeat(bytes - empty.length)}"` }));
}

const WRONG_TYPES: Record<string, readonly string[]> = {
  event_id: ["7", "null", '["a"]', "{}"],
  user_id: ["7", "null"],
  event_type: ["true", "null"],
  timestamp: ["1767225600000", "null"],
  event_data: ['"text"', "null", "[]", "1"],
  duration_seconds: ['"5"', "true", "{}"],
};

const OUT_OF_RANGE: readonly [field: string, json: string][] = [
  ["event_id", '""'],
  ["event_id", `"${"x".repeat(101)}"`],
  ["user_id", '""'],
  ["user_id", `"${"é".repeat(101)}"`],
  ["event_type", '""'],
  ["event_type", `"${"x".repeat(51)}"`],
  ["duration_seconds", "-0.001"],
  ["duration_seconds", "1000000000.001"],
  ["duration_seconds", "1e400"],
];

function bad(name: string, reason: RejectionReason, value: Uint8Array | string | undefined): BadRecord {
  return { name, reason, value: typeof value === "string" ? Buffer.from(value) : value };
}

/** Every way in which a record is not an event, with the reason that its dead letter must have. */
export const BAD_RECORDS: readonly BadRecord[] = [
  bad("tombstone", "tombstone", undefined),
  bad("empty value", "not_json", ""),
  bad("white space", "not_json", " \n"),
  bad("a stray byte", "not_utf8", Buffer.from([...Buffer.from('{"event_id":"'), 0xff, ...Buffer.from('"}')])),
  bad(
    "UTF-8 that is cut off",
    "not_utf8",
    Buffer.from(text({ user_id: '"ü"' })).subarray(0, text().indexOf("user_1") + 1),
  ),
  bad("an overlong form", "not_utf8", Buffer.from([0x22, 0xc0, 0xaf, 0x22])),
  bad("a surrogate as UTF-8", "not_utf8", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])),
  bad("UTF-16", "not_utf8", Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text(), "utf16le")])),
  bad("a byte order mark", "not_json", `\ufeff${text()}`),
  bad("no JSON", "not_json", "event_1,user_1,click"),
  bad("JSON that is cut off", "not_json", text().slice(0, -1)),
  bad("two objects", "not_json", text() + text()),
  bad("a trailing comma", "not_json", `${text().slice(0, -1)},}`),
  bad("not a number", "not_json", text({ duration_seconds: "NaN" })),
  bad("a raw newline in a string", "not_json", text({ user_id: '"a\nb"' })),
  bad("a NUL byte in a string", "not_json", text({ user_id: '"a\0b"' })),
  ...["[]", '["event_1"]', "null", "true", "42", '"text"'].map((json) =>
    bad(`${json}, no object`, "not_an_object", json),
  ),
  bad("no fields at all", "missing_field", "{}"),
  ...Object.keys(GOOD).map((field) => bad(`no ${field}`, "missing_field", text({ [field]: undefined }))),
  ...Object.entries(WRONG_TYPES).flatMap(([field, all]) =>
    all.map((json) => bad(`${field} = ${json}`, "wrong_type", text({ [field]: json }))),
  ),
  ...OUT_OF_RANGE.map(([field, json]) =>
    bad(`${field} = ${json.slice(0, 10)}`, "out_of_range", text({ [field]: json })),
  ),
  ...[
    "",
    "yesterday",
    "2026-01-01",
    "2026-01-01T10:00:00",
    "2026-02-30T10:00:00Z",
    "1969-12-31T23:59:59Z",
    "+010000-01-01T00:00:00Z",
  ].map((timestamp) =>
    bad(`timestamp "${timestamp}"`, "invalid_timestamp", text({ timestamp: `"${timestamp}"` })),
  ),
  bad(
    "tomorrow's tomorrow",
    "future_timestamp",
    text({ timestamp: `"${new Date(Date.now() + 2 * DAY_MS).toISOString()}"` }),
  ),
  bad("NUL as an escape in an id", "unstorable_text", text({ user_id: String.raw`"a\u0000b"` })),
  bad("NUL deep in the data", "unstorable_text", text({ event_data: String.raw`{"a":[{"b":"\u0000"}]}` })),
  bad("NUL in a key", "unstorable_text", text({ event_data: String.raw`{"a\u0000":1}` })),
  bad("half of a surrogate pair", "unstorable_text", text({ event_data: String.raw`{"a":"\ud83d"}` })),
  bad("the other half", "unstorable_text", text({ event_data: String.raw`{"a":"\ude00 \ud83d"}` })),
  bad("one byte too many", "too_large", ofSize(MAX_VALUE_BYTES + 1, "too_large")),
  bad("one level too deep", "too_deep", text({ event_data: `{"a":${nested(MAX_DEPTH - 1)}}` })),
  bad("far too deep", "too_deep", text({ event_data: `{"a":${nested(5000)}}` })),
  bad("a number too long to be read again", "out_of_range", text({ event_data: '{"n":1e131071}' })),
  bad("a number beyond numeric", "out_of_range", text({ event_data: '{"n":1e200000}' })),
  bad("one deeper in", "out_of_range", text({ event_data: '{"n":[{"m":-1e999999}]}' })),
  bad("data that the database refuses", "refused_by_database", text({ event_data: REFUSED_DATA })),
];

/** Keys and headers of every kind. */
export const KEYS: readonly (Uint8Array | undefined)[] = [
  undefined,
  Buffer.alloc(0),
  Buffer.from("user_1"),
  Buffer.from([0x00, 0xff, 0xfe, 0x80]),
];
export const HEADERS: readonly (readonly RecordHeader[] | undefined)[] = [
  undefined,
  [{ name: "trace", value: Buffer.from("ü") }],
  [
    { name: "", value: undefined },
    { name: "same", value: Buffer.alloc(0) },
    { name: "same", value: Buffer.from([0, 1, 255]) },
  ],
];

/** Good events at the edge of what is accepted; each looks like a bad one. */
export const EDGE_RECORDS: readonly ((id: string) => Buffer)[] = [
  (id) => Buffer.from(text({ event_id: `"${id}"` })),
  (id) => ofSize(MAX_VALUE_BYTES, id),
  (id) => Buffer.from(text({ event_id: `"${id}"`, event_data: `{"a":${nested(MAX_DEPTH - 2)}}` })),
  (id) =>
    Buffer.from(text({ event_id: `"${id}"`, event_data: String.raw`{"a":"\\u0000 \ud83d\ude00 \u0001"}` })),
  (id) => Buffer.from(text({ event_id: `"${id}"`, event_data: '{"n":1e999,"tiny":1e-999}' })),
  (id) => Buffer.from(text({ event_id: `"${id}"`, duration_seconds: "null", more: "[]" })),
  (id) => Buffer.from(` \r\n\t${text({ event_id: `"${id}"`, user_id: `"${"😀".repeat(100)}"` })}\n`),
];

/** The stage that finds the reason. */
export function stageOf(reason: RejectionReason): RejectionStage {
  const decoding: readonly RejectionReason[] = [
    "tombstone",
    "too_large",
    "not_utf8",
    "not_json",
    "too_deep",
    "unstorable_text",
  ];
  if (reason === "refused_by_database") return "store";
  return decoding.includes(reason) ? "decode" : "validate";
}
