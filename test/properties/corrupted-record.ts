// The bytes of a sound record in; the same bytes with a few accidents out.
import type { Chance } from "../support/seeded-random.ts";

type Accident = (chance: Chance, record: Buffer) => Buffer;

/** Bytes that mean something to a JSON reader, or to a UTF-8 one. */
const TELLING = Buffer.from('{}[],:"\\ -+.eE019tfnu\n\r\t\v\f\0\u001f\u007f/', "latin1");
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
  "100.00000000001 9007199254740993 0.1234567890123456789 123456789012345 1234567890123456 0.0000000000001 0x1 1_0 1n";
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
];
const TIMESTAMPS = (
  "2026-02-29T00:00:00Z|2100-02-29T00:00:00Z|2026-00-01T00:00:00Z|2026-13-01T00:00:00Z|2026-03-00T00:00:00Z|" +
  "2026-04-31T00:00:00Z|2026-03-01T24:00:00Z|2026-03-01T00:60:00Z|2026-03-01T00:00:60Z|1969-12-31T23:59:59.999Z|" +
  "1970-01-01T00:00:00+00:01|0000-01-01T00:00:00Z|2026-03-01T00:00:00|2026-03-01T00:00:00.Z|2026-03-01T00:00Z|" +
  "2026-03-01 00:00:00z|20260301T000000Z|2026-03-01T00:00:00,5Z|2026-03-01T00:00:00Z |2026-03-01T00:00:00+0100|" +
  "2026-03-01T00:00:00+00:0|2026-03-15T09:26:53.589Z|2026-03-15T09:26:53.5891Z|2026-03-15T09:26:53.590Z|" +
  "9999-12-31T23:59:59Z"
).split("|");

/** A decimal of up to 20 digits, with a point or without. */
function decimal(chance: Chance): string {
  const digits = Array.from({ length: 1 + chance.below(20) }, () => chance.below(10)).join("");
  const whole = digits.slice(0, 1 + chance.below(digits.length));
  const fraction = digits.slice(whole.length);
  return `${BigInt(whole)}${fraction === "" ? "" : `.${fraction}`}`;
}

const ACCIDENTS: readonly Accident[] = [
  // a byte becomes another, close by or telling
  (chance, record) => {
    const at = chance.below(record.length);
    const byte = chance.one([
      record[at]! ^ (1 << chance.below(8)),
      chance.one([...TELLING]),
      chance.one(FOREIGN_BYTES),
    ]);
    return splice(record, at, 1, Buffer.of(byte));
  },
  (chance, record) => splice(record, chance.below(record.length + 1), 0, Buffer.of(chance.one([...TELLING]))),
  (chance, record) => splice(record, chance.below(record.length + 1), 0, chance.one(SEQUENCES)),
  (chance, record) => splice(record, chance.below(record.length), chance.one([1, 1, 2, 9])),
  // a piece comes a second time, here or elsewhere
  (chance, record) => {
    const start = chance.below(record.length);
    const piece = record.subarray(start, start + 1 + chance.below(chance.one([2, 40, 200])));
    return splice(record, chance.once(2) ? start : chance.below(record.length), 0, piece);
  },
  // a whole member comes a second time
  (chance, record) => {
    const members = [...latin1(record).matchAll(/"\w+"\s*:\s*(?:"[^"]*"|[-\w.+]+),/g)];
    if (members.length === 0) return record;
    const { 0: text, index } = chance.one(members);
    return splice(record, index, 0, Buffer.from(text, "latin1"));
  },
  // cut off, or with something behind it
  (chance, record) =>
    chance.once(3) ? record.subarray(0, chance.below(record.length)) : record.subarray(0, -1),
  (chance, record) =>
    Buffer.concat([
      record,
      chance.one(["}", " ", "\n", "\0", "x", "{}", ",", "\ufeff"].map((text) => Buffer.from(text))),
    ]),
  // a value becomes another one
  (chance, record) => replaceOne(chance, record, /(?<=:\s*)(?:"[^"]*"|[-\w.+]+)/g, chance.one(VALUES)),
  (chance, record) => replaceOne(chance, record, /(?<=:\s*)[-\d.]+/g, chance.one(NUMBERS.split(" "))),
  (chance, record) => replaceOne(chance, record, /(?<="amount"\s*:\s*)[-\d.]+/g, chance.one(VALUES)),
  (chance, record) =>
    replaceOne(chance, record, /(?<="duration_seconds"\s*:\s*)[-\d.]+/g, chance.one(VALUES)),
  (chance, record) => replaceOne(chance, record, /(?<="timestamp"\s*:\s*")[^"]*/g, chance.one(TIMESTAMPS)),
  (chance, record) => {
    const digits = /(?<="timestamp"\s*:\s*"[^"]*)[^"]/g;
    return replaceOne(chance, record, digits, chance.one("0|1|2|3|4|5|6|7|8|9||Z|z|T| |.|:|-|+".split("|")));
  },
  (chance, record) =>
    replaceOne(chance, record, /(?<="(?:amount|duration_seconds)"\s*:\s*)[-\d.]+/g, decimal(chance)),
  // a key becomes another one, or a member comes in
  (chance, record) => replaceOne(chance, record, /(?<=")\w+(?="\s*:)/g, chance.one(KEYS)),
  (chance, record) => {
    const member = `"${chance.one(KEYS)}":${chance.one(VALUES)}`;
    return replaceOne(chance, record, /[{,]|[}]/g, (found) =>
      found === "}" ? `,${member}}` : `${found}${member},`,
    );
  },
  // white space where it may be, or of a kind that is none
  (chance, record) => {
    const space = chance.one([" ", "\t", "\n", "\r", " \r\n\t ", "\v", "\f", "\0", "\u00a0", "\u0085"]);
    return replaceOne(chance, record, /[{}[\],:"]/g, (found) =>
      chance.once(2) ? `${space}${found}` : `${found}${space}`,
    );
  },
  // commas and brackets one too many or too few
  (chance, record) =>
    replaceOne(chance, record, /[{}[\],:"]/g, (found) => chance.one(["", found + found, `,${found}`])),
];

/** Does one to three things to a record that could happen to it. */
export function damaged(chance: Chance, record: Buffer): Buffer {
  let damagedRecord = record;
  for (let left = chance.one([1, 1, 1, 2, 3]); left > 0; left--) {
    if (damagedRecord.length > 0) damagedRecord = chance.one(ACCIDENTS)(chance, damagedRecord);
  }
  return damagedRecord;
}

function splice(record: Buffer, at: number, removed: number, added: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([record.subarray(0, at), added, record.subarray(at + removed)]);
}

/** The bytes as one character each, so that places in the text are places in the record. */
function latin1(record: Buffer): string {
  return record.toString("latin1");
}

/** Replaces one of the places that match; the replacement goes in as UTF-8. */
function replaceOne(
  chance: Chance,
  record: Buffer,
  pattern: RegExp,
  replacement: string | ((found: string) => string),
): Buffer {
  const places = [...latin1(record).matchAll(pattern)];
  if (places.length === 0) return record;
  const { 0: found, index } = chance.one(places);
  const text = typeof replacement === "string" ? replacement : replacement(found);
  return splice(record, index, found.length, Buffer.from(text));
}
