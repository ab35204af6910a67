// Lists records that are hostile by their size or their depth, in the value, the key or the headers.
import type { RecordHeader } from "../../../shared/pipeline/record-headers.ts";
import { eventWith, type HostileKind, rejected, stored } from "./hostile-kind.ts";

/** Almost the largest value that is accepted. */
const LARGE = 1_000_000;
const TOO_LARGE = 1_048_577;

const HEADERS: readonly RecordHeader[] = Array.from({ length: 1000 }, (_, index) => ({
  name: `name-${index % 10}`,
  value: index % 3 === 0 ? undefined : Buffer.of(0, 0xff, index % 256),
}));

const space = (length: number) => " \t\r\n".repeat(length / 4);

/** Objects and arrays in turn, so many levels deep. */
function nested(levels: number): string {
  const pairs = Math.floor(levels / 2);
  const inner = levels % 2 === 1 ? "[]" : "1";
  return '{"a":['.repeat(pairs) + inner + "]}".repeat(pairs);
}

const members = (count: number, key: (index: number) => string) =>
  `{${Array.from({ length: count }, (_, index) => `"${key(index)}":${index}`).join()}}`;

const DEPTHS: readonly HostileKind[] = [
  stored("a member that is not stored, 100 levels deep", (id) => eventWith(id, { more: nested(99) })),
  rejected("a member that is not stored, 101 levels deep", "too_deep", (id) =>
    eventWith(id, { more: nested(100) }),
  ),
  stored(
    "100 levels, ten times",
    (id) => eventWith(id, { event_data: `{"a":[${Array(10).fill(nested(97)).join()}]}` }),
    {
      event_data: `{"a":[${Array(10).fill(nested(97)).join()}]}`,
    },
  ),
  rejected("200,000 levels", "too_deep", (id) => eventWith(id, { more: nested(200_000) })),
  rejected("500,000 brackets that stay open", "not_json", () => "[".repeat(500_000)),
  rejected("a closing bracket alone", "not_json", () => "]"),
];

const VALUES: readonly HostileKind[] = [
  rejected("one byte 0", "not_json", () => Buffer.of(0)),
  rejected("a quote alone", "not_json", () => '"'),
  rejected("a minus sign alone", "not_json", () => "-"),
  stored(
    "a megabyte of white space before and after",
    (id) => space(LARGE / 2) + eventWith(id) + space(LARGE / 2),
  ),
  stored("a megabyte of white space between members", (id) => eventWith(id).replace(",", `${space(LARGE)},`)),
  rejected("a megabyte of white space alone", "not_json", () => space(LARGE)),
  rejected("white space that makes it too large", "too_large", (id) => eventWith(id).padEnd(TOO_LARGE)),
  rejected("a number of a million digits", "out_of_range", (id) =>
    eventWith(id, { event_data: `{"n":${"7".repeat(LARGE)}}` }),
  ),
  stored("a million digits that are not stored", (id) => eventWith(id, { more: "7".repeat(LARGE) })),
  rejected("a duration of a million digits", "out_of_range", (id) =>
    eventWith(id, { duration_seconds: "7".repeat(LARGE) }),
  ),
  rejected("a user_id of half a million backslashes", "out_of_range", (id) =>
    eventWith(id, { user_id: `"${"\\\\".repeat(LARGE / 2)}"` }),
  ),
  stored("10,000 members", (id) => eventWith(id, { event_data: members(10_000, (index) => `k${index}`) }), {
    event_data: members(10_000, (index) => `k${index}`),
  }),
  stored("50,000 members without a name", (id) => eventWith(id, { event_data: members(50_000, () => "") }), {
    event_data: '{"":49999}',
  }),
  stored(
    "30,000 keys that are far array indexes",
    (id) => eventWith(id, { event_data: members(30_000, (index) => String(4_294_967_294 - 99_991 * index)) }),
    { event_data: members(30_000, (index) => String(4_294_967_294 - 99_991 * index)) },
  ),
  stored(
    "30,000 times an event_id",
    (id) => `{${`"event_id":"${id}",`.repeat(30_000)}${eventWith(id).slice(1)}`,
  ),
  stored(
    "a key of 900 kB in the data",
    (id) => eventWith(id, { event_data: `{"${"k".repeat(900_000)}":1}` }),
    {
      event_data: `{"${"k".repeat(900_000)}":1}`,
    },
  ),
];

const OUTSIDE: readonly HostileKind[] = [
  stored("an event with a record key of 900 kB", (id) => ({
    key: Buffer.alloc(900_000, 0xff),
    value: Buffer.from(eventWith(id)),
  })),
  rejected("no JSON, with a record key of 900 kB", "not_json", (id) => ({
    key: Buffer.alloc(900_000, 0xfe),
    value: Buffer.from(id),
  })),
  stored("an event with 1,000 headers", (id) => ({ value: Buffer.from(eventWith(id)), headers: HEADERS })),
  rejected("a tombstone with 1,000 headers", "tombstone", () => ({ value: undefined, headers: HEADERS })),
  rejected("an empty value with a header of 500 kB", "not_json", () => ({
    value: Buffer.alloc(0),
    headers: [{ name: "h".repeat(10_000), value: Buffer.alloc(500_000, 0x80) }],
  })),
];

export const HOSTILE_SIZES: readonly HostileKind[] = [...DEPTHS, ...VALUES, ...OUTSIDE];
