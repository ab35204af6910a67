// Lists records whose numbers are hostile: at the limits of double and numeric, or in a notation that JSON lacks.
import { eventEndingWith, eventWith, type HostileKind, rejected, stored } from "./hostile-kind.ts";

const LIMITS =
  '{"n":[1.7976931348623157e308,5e-324,9007199254740993,18446744073709551616,-0,0.10,1E+0,0e0,-9223372036854775809]}';
/** 10, with more zeros than a numeric has places behind its point. */
const CANCELLED = `0.${"0".repeat(20_000)}1e20002`;

/** Tokens that other languages take for numbers. */
const TOKENS = [
  "Infinity",
  "-Infinity",
  "0x1F",
  "010",
  ".5",
  "5.",
  "1_000",
  "1n",
  "--1",
  "1e",
  "１",
  "٣",
  "1,5e3.2",
];

function withNumber(id: string, number: string): string {
  return eventWith(id, { event_data: `{"n":${number}}` });
}

export const HOSTILE_NUMBERS: readonly HostileKind[] = [
  ...TOKENS.map((token) => rejected(`the number ${token}`, "not_json", (id) => withNumber(id, token))),
  stored("numbers at the limits of other types", (id) => eventWith(id, { event_data: LIMITS }), {
    event_data: LIMITS,
  }),
  stored("an exponent of 5,000 zeros and a 5", (id) => withNumber(id, `1e${"0".repeat(5000)}5`), {
    event_data: '{"n":100000}',
  }),
  stored("20,000 zeros that an exponent takes back", (id) => withNumber(id, CANCELLED), {
    event_data: '{"n":10}',
  }),
  rejected("zeros behind the point that no exponent takes back", "out_of_range", (id) =>
    withNumber(id, `1${"0".repeat(1001)}e-1001`),
  ),
  rejected("a zero with an exponent beyond numeric", "out_of_range", (id) => withNumber(id, "0e1073741824")),
  rejected("a zero with an exponent beyond a double", "out_of_range", (id) =>
    withNumber(id, `-0.0e${"9".repeat(400)}`),
  ),
  rejected("a zero with a negative exponent beyond numeric", "out_of_range", (id) =>
    withNumber(id, "0e-1073741824"),
  ),
  stored("numbers beyond numeric in members that are not stored", (id) =>
    eventEndingWith(id, `,"more":[1e131072,-1e-16384,0e${"9".repeat(30)}]}`),
  ),
  stored(
    "a number beyond numeric in event_data that is replaced",
    (id) => `${withNumber(id, "1e131072").slice(0, -1)},"event_data":{"n":1}}`,
    { event_data: '{"n":1}' },
  ),
  stored("a duration of minus zero", (id) => eventWith(id, { duration_seconds: "-0.0e5" }), {
    duration_seconds: 0,
  }),
  stored(
    "a duration of zero with an exponent beyond a double",
    (id) => eventWith(id, { duration_seconds: `0e${"9".repeat(400)}` }),
    { duration_seconds: 0 },
  ),
  stored("a duration below every double", (id) => eventWith(id, { duration_seconds: "1e-400" }), {
    duration_seconds: 0,
  }),
  stored("the longest duration", (id) => eventWith(id, { duration_seconds: "0.1e10" }), {
    duration_seconds: 1e9,
  }),
  stored("a duration of many digits", (id) => eventWith(id, { duration_seconds: `1.${"0".repeat(2000)}1` }), {
    duration_seconds: 1,
  }),
  rejected("a duration of -1e-300", "out_of_range", (id) => eventWith(id, { duration_seconds: "-1e-300" })),
  rejected("a duration one bit too long", "out_of_range", (id) =>
    eventWith(id, { duration_seconds: "1000000000.0000002" }),
  ),
  rejected("a duration that is a text", "wrong_type", (id) => eventWith(id, { duration_seconds: '"NaN"' })),
];
