// Corrupts the bytes of a valid record in ways that could happen to it.

import type { SeededChoices } from "../support/seeded-random.ts";

type Corruption = (choices: SeededChoices, record: Buffer) => Buffer;

/** Bytes with a meaning in JSON or in UTF-8. */
const MEANINGFUL_BYTES = Buffer.from('{}[],:"\\ -+.eE019tfnu\n\r\t\v\f\0\u001f\u007f/', "latin1");
const FOREIGN_BYTES = [0x80, 0xbf, 0xc0, 0xc3, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xff];
const SEQUENCES = [
  ...'é|日|😀|\ufeff|\u00a0|\u2028|\\n|\\"|\\u0000|\\ud800|//|/**/'
    .split("|")
    .map((text) => Buffer.from(text)),
  Buffer.of(0xed, 0xa0, 0x80),
  Buffer.of(0xc0, 0x80),
  Buffer.of(0xf4, 0x90, 0x80, 0x80),
  Buffer.of(0xe2, 0x82),
];
const NUMBERS =
  "0 -0 00 01 -01 1. .5 -.5 - + +1 1e5 1E+5 1e-5 1e 1e+ 1.e5 1e400 -1 0.0 0.5 -0.5 1e9 1000000000 1000000000.1 99.99 " +
  "100.00000000001 9007199254740993 0.1234567890123456789 123456789012345 1234567890123456 0.0000000000001 0x1 1_0 1n " +
  "1e999 1e1000 1e-999 1e-1000 1e131071 -1E+99999999999999999999 0e131071 0e-16384 9e-400 0e1000000000 " +
  "0e1000000001 -0.0E99999999999999999999";
const VALUES = [
  ...NUMBERS.split(" "),
  ...'null|true|false|nul|nulll|True|NaN|Infinity|[]|{}|[1,]|[,]|[1 2]|{"a":1,}|{"a"}|{"a":}|{a:1}|{,"a":1}'.split(
    "|",
  ),
  ...'""|"|"x"|"purchase"|"1"||{"amount":5}|{"amount":5,"amount":"6"}|{"amount":5,"amount":6}'.split("|"),
  '{"__proto__":{"amount":5}}',
  ...["x".repeat(50), "x".repeat(51), "x".repeat(101), "é".repeat(50), "é".repeat(51)].map(
    (text) => `"${text}"`,
  ),
  "9".repeat(1000),
  `-${"9".repeat(999)}.9`,
  `${"9".repeat(999)}.99`,
  '"\\ud83d\\ude00"',
  '"\\ud83d"',
  '"\\u0000"',
  '"\\/\\b\\f\\n\\r\\t\\\\\\""',
  '"\\u12"',
  '"\\x"',
  `"${"\\ud83d\\ude00".repeat(100)}"`,
  `"${"\\u00e9".repeat(101)}"`,
  ...[97, 98, 99, 100, 101].flatMap((depth) => [
    "[".repeat(depth) + "]".repeat(depth),
    `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`,
  ]),
];
const KEYS = [
  "event_id",
  "user_id",
  "event_type",
  "timestamp",
  "event_data",
  "duration_seconds",
  "amount",
  "__proto__",
  "\\u0065vent_id",
  "event\\u005Fdata",
  "amoun\\u0074",
];
const TIMESTAMPS = (
  "2026-02-29T00:00:00Z|2100-02-29T00:00:00Z|2026-00-01T00:00:00Z|2026-13-01T00:00:00Z|2026-03-00T00:00:00Z|" +
  "2026-04-31T00:00:00Z|2026-03-01T24:00:00Z|2026-03-01T00:60:00Z|2026-03-01T00:00:60Z|1969-12-31T23:59:59.999Z|" +
  "1970-01-01T00:00:00+00:01|0000-01-01T00:00:00Z|2026-03-01T00:00:00|2026-03-01T00:00:00.Z|2026-03-01T00:00Z|" +
  "2026-03-01 00:00:00z|20260301T000000Z|2026-03-01T00:00:00,5Z|2026-03-01T00:00:00Z |2026-03-01T00:00:00+0100|" +
  "2026-03-01T00:00:00+00:0|2026-03-15T09:26:53.589Z|2026-03-15T09:26:53.5891Z|2026-03-15T09:26:53.590Z|" +
  "9999-12-31T23:59:59Z"
).split("|");

/** A decimal of up to 20 digits, with or without a point. */
function decimal(choices: SeededChoices): string {
  const digits = Array.from({ length: 1 + choices.below(20) }, () => choices.below(10)).join("");
  const whole = digits.slice(0, 1 + choices.below(digits.length));
  const fraction = digits.slice(whole.length);
  return `${BigInt(whole)}${fraction === "" ? "" : `.${fraction}`}`;
}

const CORRUPTIONS: readonly Corruption[] = [
  // changes a byte by one bit, or into one with a meaning
  (choices, record) => {
    const at = choices.below(record.length);
    const byte = choices.one([
      record[at]! ^ (1 << choices.below(8)),
      choices.one([...MEANINGFUL_BYTES]),
      choices.one(FOREIGN_BYTES),
    ]);
    return splice(record, at, 1, Buffer.of(byte));
  },
  (choices, record) =>
    splice(record, choices.below(record.length + 1), 0, Buffer.of(choices.one([...MEANINGFUL_BYTES]))),
  (choices, record) => splice(record, choices.below(record.length + 1), 0, choices.one(SEQUENCES)),
  (choices, record) => splice(record, choices.below(record.length), choices.one([1, 1, 2, 9])),
  // repeats a piece, here or elsewhere
  (choices, record) => {
    const start = choices.below(record.length);
    const piece = record.subarray(start, start + 1 + choices.below(choices.one([2, 40, 200])));
    return splice(record, choices.once(2) ? start : choices.below(record.length), 0, piece);
  },
  // repeats a whole member
  (choices, record) => {
    const members = [...latin1(record).matchAll(/"\w+"\s*:\s*(?:"[^"]*"|[-\w.+]+),/g)];
    if (members.length === 0) return record;
    const { 0: text, index } = choices.one(members);
    return splice(record, index, 0, Buffer.from(text, "latin1"));
  },
  // writes a character as an escape, or damages one
  (choices, record) =>
    replaceOne(
      choices,
      record,
      /[\w ]/g,
      (found) =>
        `\\u${found
          .charCodeAt(0)
          .toString(16)
          .padStart(4, choices.once(4) ? "" : "0")}`,
    ),
  (choices, record) =>
    replaceOne(
      choices,
      record,
      /\\u[0-9a-fA-F]{4}/g,
      choices.one(["\\u", "\\u00", "\\udead", "\\ud83d", "\\"]),
    ),
  // cuts the end off, or appends something
  (choices, record) =>
    choices.once(3) ? record.subarray(0, choices.below(record.length)) : record.subarray(0, -1),
  (choices, record) =>
    Buffer.concat([
      record,
      choices.one(["}", " ", "\n", "\0", "x", "{}", ",", "\ufeff"].map((text) => Buffer.from(text))),
    ]),
  // puts something else in the place of the event, or puts it into something else
  (choices, record) =>
    choices.once(2)
      ? Buffer.from(choices.one(VALUES))
      : Buffer.concat([Buffer.from("["), record, Buffer.from("]")]),
  // replaces a value
  (choices, record) => replaceOne(choices, record, /(?<=:\s*)(?:"[^"]*"|[-\w.+]+)/g, choices.one(VALUES)),
  (choices, record) => replaceOne(choices, record, /(?<=:\s*)[-\d.]+/g, choices.one(NUMBERS.split(" "))),
  (choices, record) => replaceOne(choices, record, /(?<="amount"\s*:\s*)[-\d.]+/g, choices.one(VALUES)),
  (choices, record) =>
    replaceOne(choices, record, /(?<="duration_seconds"\s*:\s*)[-\d.]+/g, choices.one(VALUES)),
  (choices, record) => replaceOne(choices, record, /(?<="timestamp"\s*:\s*")[^"]*/g, choices.one(TIMESTAMPS)),
  (choices, record) => {
    const digits = /(?<="timestamp"\s*:\s*"[^"]*)[^"]/g;
    return replaceOne(
      choices,
      record,
      digits,
      choices.one("0|1|2|3|4|5|6|7|8|9||Z|z|T| |.|:|-|+".split("|")),
    );
  },
  (choices, record) =>
    replaceOne(choices, record, /(?<="(?:amount|duration_seconds)"\s*:\s*)[-\d.]+/g, decimal(choices)),
  // replaces a key, or inserts a member
  (choices, record) => replaceOne(choices, record, /(?<=")\w+(?="\s*:)/g, choices.one(KEYS)),
  (choices, record) => {
    const member = `"${choices.one(KEYS)}":${choices.one(VALUES)}`;
    return replaceOne(choices, record, /[{,]|[}]/g, (found) =>
      found === "}" ? `,${member}}` : `${found}${member},`,
    );
  },
  // inserts white space, or characters that only look like it
  (choices, record) => {
    const space = choices.one([" ", "\t", "\n", "\r", " \r\n\t ", "\v", "\f", "\0", "\u00a0", "\u0085"]);
    return replaceOne(choices, record, /[{}[\],:"]/g, (found) =>
      choices.once(2) ? `${space}${found}` : `${found}${space}`,
    );
  },
  // repeats or removes commas and brackets
  (choices, record) =>
    replaceOne(choices, record, /[{}[\],:"]/g, (found) => choices.one(["", found + found, `,${found}`])),
];

/** Applies one to three corruptions to a record. */
export function corruptedRecord(choices: SeededChoices, record: Buffer): Buffer {
  let corrupted = record;
  for (let left = choices.one([1, 1, 1, 2, 3]); left > 0; left--) {
    if (corrupted.length > 0) corrupted = choices.one(CORRUPTIONS)(choices, corrupted);
  }
  return corrupted;
}

function splice(record: Buffer, at: number, removed: number, added: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([record.subarray(0, at), added, record.subarray(at + removed)]);
}

/** The bytes as one character each, so that positions in the text are positions in the record. */
function latin1(record: Buffer): string {
  return record.toString("latin1");
}

/** Replaces one of the matches; the replacement is written as UTF-8. */
function replaceOne(
  choices: SeededChoices,
  record: Buffer,
  pattern: RegExp,
  replacement: string | ((found: string) => string),
): Buffer {
  const places = [...latin1(record).matchAll(pattern)];
  if (places.length === 0) return record;
  const { 0: found, index } = choices.one(places);
  const text = typeof replacement === "string" ? replacement : replacement(found);
  return splice(record, index, found.length, Buffer.from(text));
}
