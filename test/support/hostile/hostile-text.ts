// Lists records whose text is hostile: bytes that are no UTF-8, NUL, halves of pairs, escapes, and ids to confuse SQL.
import {
  duplicate,
  escaped,
  eventWith,
  type HostileKind,
  rejected,
  stored,
  withBytes,
} from "./hostile-kind.ts";

const FACE = "😀";
/** Every control character but NUL. */
const CONTROLS = Array.from({ length: 31 }, (_, index) => String.fromCharCode(index + 1)).join("");

/** A text filled up to a number of code points with a character. */
function filled(text: string, length: number, character: string): string {
  return text + character.repeat(length - text.length);
}

/** A text filled up with pairs of a letter and a combining mark. */
function accented(text: string, length: number): string {
  const even = text.length % 2 === 0 ? text : `${text}_`;
  return even + "e\u0301".repeat((length - even.length) / 2);
}

const BYTES: readonly HostileKind[] = [
  rejected("NUL in two bytes, as Java writes it", "not_utf8", (id) =>
    withBytes(eventWith(id, { event_data: '{"a":"here"}' }), 0xc0, 0x80),
  ),
  rejected("a surrogate pair as UTF-8", "not_utf8", (id) =>
    withBytes(eventWith(id, { user_id: '"here"' }), 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80),
  ),
  rejected("a code point above U+10FFFF", "not_utf8", (id) =>
    withBytes(eventWith(id, { event_type: '"here"' }), 0xf4, 0x90, 0x80, 0x80),
  ),
  rejected("UTF-8 of five bytes", "not_utf8", (id) =>
    withBytes(eventWith(id, { event_data: '{"here":1}' }), 0xf8, 0x88, 0x80, 0x80, 0x80),
  ),
  rejected("a character cut off by a quote", "not_utf8", (id) =>
    withBytes(eventWith(id, { user_id: '"here"' }), 0xe6, 0x97),
  ),
  rejected("a stray byte in a member that is not stored", "not_utf8", (id) =>
    withBytes(eventWith(id, { more: '"here"' }), 0xbf),
  ),
  rejected("NUL between members", "not_json", (id) => eventWith(id).replace(",", ",\0")),
  rejected("a raw tab in a text", "not_json", (id) => eventWith(id, { user_id: '"a\tb"' })),
  stored(
    "characters that are no characters",
    (id) => eventWith(id, { user_id: '"\ufffe\uffff\ufdd0\u{10ffff}"' }),
    { user_id: "\ufffe\uffff\ufdd0\u{10ffff}" },
  ),
  stored(
    "DEL, C1 controls and line separators",
    (id) => eventWith(id, { event_type: '"\x7f\x80\x9f\u2028"' }),
    {
      event_type: "\x7f\x80\x9f\u2028",
    },
  ),
  stored(
    "text written from right to left, of no width",
    (id) => eventWith(id, { user_id: '"\u202egnp.exe\u200b\u2066"' }),
    { user_id: "\u202egnp.exe\u200b\u2066" },
  ),
];

const UNSTORABLE: readonly HostileKind[] = [
  rejected("NUL in the event_id", "unstorable_text", (id) => eventWith(id, { event_id: `"${id}\\u0000"` })),
  rejected("NUL in the event_type", "unstorable_text", (id) => eventWith(id, { event_type: '"a\\u0000"' })),
  rejected("NUL in the timestamp", "unstorable_text", (id) =>
    eventWith(id, { timestamp: '"2026-01-01T10:00:00Z\\u0000"' }),
  ),
  rejected("NUL in a member that is not stored", "unstorable_text", (id) =>
    eventWith(id, { more: '["\\u0000"]' }),
  ),
  rejected("NUL at the end of a known key", "unstorable_text", (id) =>
    eventWith(id).replace("event_id", "event_id\\u0000"),
  ),
  rejected("half of a pair in a key", "unstorable_text", (id) =>
    eventWith(id, { event_data: '{"\\udc00":1}' }),
  ),
  rejected("half of a pair in the key of a member that is not stored", "unstorable_text", (id) =>
    eventWith(id).replace("{", '{"\\uD83D":1,'),
  ),
  rejected("three halves", "unstorable_text", (id) => eventWith(id, { user_id: '"\\ud83d\\ud83d\\ude00"' })),
  rejected("a pair with a character inside", "unstorable_text", (id) =>
    eventWith(id, { event_data: '{"a":"\\ud83d-\\ude00"}' }),
  ),
  rejected("half of a pair, the other half raw", "not_utf8", (id) =>
    withBytes(eventWith(id, { event_data: '{"a":"\\ud83dhere"}' }), 0xed, 0xb8, 0x80),
  ),
];

const ESCAPES: readonly HostileKind[] = [
  ...["\\x41", "\\u{1F600}", "\\U0001F600", "\\'", "\\0", "\\u+041", "\\u00g0"].map((escape) =>
    rejected(`the escape ${escape}`, "not_json", (id) => eventWith(id, { event_data: `{"a":"${escape}"}` })),
  ),
  stored(
    "every character of the data as an escape",
    (id) => eventWith(id, { event_data: `{"${escaped('a"\\\n')}":"${escaped("日本😀")}"}` }),
    { event_data: JSON.stringify({ 'a"\\\n': "日本😀" }) },
  ),
  stored("the separator of our own INSERT", (id) => eventWith(id, { event_data: '{"a":"\\u001e\\u001E"}' }), {
    event_data: '{"a":"\\u001e\\u001e"}',
  }),
];

const IDS: readonly HostileKind[] = [
  stored(
    "control characters in the event_id",
    (id) => eventWith(CONTROLS + id),
    (id) => ({ event_id: CONTROLS + id }),
  ),
  stored(
    "an event_id that ends arrays, COPY and SQL",
    (id) => eventWith(`{NULL,"\\N\\.\n'--$1${id}`),
    (id) => ({ event_id: `{NULL,"\\N\\.\n'--$1${id}` }),
  ),
  stored("a user_id that is a backslash and a quote", (id) => eventWith(id, { user_id: '"\\\\\\""' }), {
    user_id: '\\"',
  }),
  stored("an event_type of one space", (id) => eventWith(id, { event_type: '" "' }), { event_type: " " }),
  stored(
    "an event_id of 100 code points of four bytes",
    (id) => eventWith(filled(id, 100, FACE)),
    (id) => ({ event_id: filled(id, 100, FACE) }),
  ),
  rejected("an event_id of 101 code points", "out_of_range", (id) => eventWith(filled(id, 101, FACE))),
  stored(
    "an event_id of 100 code points, escaped",
    (id) => eventWith(id, { event_id: `"${escaped(filled(id, 100, FACE))}"` }),
    (id) => ({ event_id: filled(id, 100, FACE) }),
  ),
  rejected("an event_id of 101 code points, escaped", "out_of_range", (id) =>
    eventWith(id, { event_id: `"${escaped(filled(id, 101, FACE))}"` }),
  ),
  stored(
    "an event_id full of combining marks",
    (id) => eventWith(accented(id, 100)),
    (id) => ({ event_id: accented(id, 100) }),
  ),
  rejected("an event_id of 51 marked letters", "out_of_range", (id) => eventWith(accented("", 102) + id)),
  rejected("an event_id of 256 characters", "out_of_range", (id) => eventWith(filled(id, 256, "x"))),
  stored("an event_type of 50 code points", (id) => eventWith(id, { event_type: `"${FACE.repeat(50)}"` }), {
    event_type: FACE.repeat(50),
  }),
  rejected("an event_type of 51 code points", "out_of_range", (id) =>
    eventWith(id, { event_type: `"${FACE.repeat(51)}"` }),
  ),
];

const REPEATED_IDS: readonly HostileKind[] = [
  stored("an event whose id comes again", (id) => eventWith(id), { user_id: "user_1" }),
  duplicate("the same id, escaped", (id) => eventWith(id, { event_id: `"${escaped(id)}"` })),
  duplicate("the same id with other content", (id) =>
    eventWith(id, { user_id: '"another"', event_type: '"login"', timestamp: '"2025-06-01T00:00:00Z"' }),
  ),
  {
    ...stored(
      "the same id and a space",
      (id) => eventWith(`${id} `),
      (id) => ({ event_id: `${id} ` }),
    ),
    repeatsId: true,
  },
  {
    ...stored(
      "the same id in capitals",
      (id) => eventWith(id.toUpperCase()),
      (id) => ({ event_id: id.toUpperCase() }),
    ),
    repeatsId: true,
  },
  stored(
    "an id with é in one code point",
    (id) => eventWith(`${id}\u00e9`),
    (id) => ({ event_id: `${id}\u00e9` }),
  ),
  {
    ...stored(
      "the same id with é in two",
      (id) => eventWith(`${id}e\u0301`),
      (id) => ({ event_id: `${id}e\u0301` }),
    ),
    repeatsId: true,
  },
];

export const HOSTILE_TEXT: readonly HostileKind[] = [
  ...BYTES,
  ...UNSTORABLE,
  ...ESCAPES,
  ...IDS,
  ...REPEATED_IDS,
];
