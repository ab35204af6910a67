// Lists records whose members are hostile: repeated, in odd places, with names that mean something elsewhere.
import { eventEndingWith, eventWith, type HostileKind, rejected, stored } from "./hostile-kind.ts";

const PURCHASE = '"purchase"';

const REPEATED: readonly HostileKind[] = [
  stored("an event_id twice, of which the last counts", (id) =>
    eventEndingWith("first", `,"event_id":"${id}"}`),
  ),
  stored("an event_id again with an escaped key", (id) =>
    eventEndingWith("first", `,"event\\u005fid":"${id}"}`),
  ),
  stored("an event_id of a wrong type, then a right one", (id) =>
    eventWith(id).replace("{", '{"event_id":[{}],"event_id":null,'),
  ),
  rejected("an event_id that is a number the last time", "wrong_type", (id) =>
    eventEndingWith(id, ',"event_id":7}'),
  ),
  rejected("event_data that is an array the last time", "wrong_type", (id) =>
    eventEndingWith(id, ',"event_data":[]}'),
  ),
  stored(
    "event_data twice, the first full of braces",
    (id) => eventWith(id, { event_data: '{"a":"}","b":{"c":"{"}}' }).slice(0, -1) + ',"event_data":{"d":1}}',
    { event_data: '{"d":1}' },
  ),
  stored(
    "a duration twice, null the last time",
    (id) => eventWith(id, { duration_seconds: "5" }).slice(0, -1) + ',"duration_seconds":null}',
    { duration_seconds: null },
  ),
  stored("keys of the data twice", (id) => eventWith(id, { event_data: '{"a":1,"b":2,"a":[3],"":4,"":5}' }), {
    event_data: '{"a":[3],"b":2,"":5}',
  }),
];

const NAMES: readonly HostileKind[] = [
  rejected("all members in __proto__", "missing_field", (id) => `{"__proto__":${eventWith(id)}}`),
  rejected("all members in an object called event", "missing_field", (id) => `{"event":${eventWith(id)}}`),
  stored("members named like those of every object", (id) =>
    eventEndingWith(
      id,
      ',"__proto__":{"event_id":"x"},"constructor":{"prototype":{}},"toString":1,"then":{}}',
    ),
  ),
  stored(
    "data with the names of every object's members",
    (id) =>
      eventWith(id, {
        event_data: '{"__proto__":{"a":1},"constructor":null,"toJSON":1,"valueOf":{},"length":-1}',
      }),
    { event_data: '{"__proto__":{"a":1},"constructor":null,"toJSON":1,"valueOf":{},"length":-1}' },
  ),
  stored(
    "keys at the limits of array indexes",
    (id) =>
      eventWith(id, { event_data: '{"4294967294":1,"4294967295":2,"-0":3,"00":4,"9007199254740993":5}' }),
    { event_data: '{"4294967294":1,"4294967295":2,"-0":3,"00":4,"9007199254740993":5}' },
  ),
  rejected("a known key with a Cyrillic letter", "missing_field", (id) =>
    eventWith(id).replace("event_id", "\u0435vent_id"),
  ),
  rejected("known keys in capitals", "missing_field", (id) => eventWith(id).replace("user_id", "USER_ID")),
  rejected("a known key and a space", "missing_field", (id) =>
    eventWith(id).replace('user_id"', 'user_id "'),
  ),
  rejected("a known key behind a mark of no width", "missing_field", (id) =>
    eventWith(id).replace("timestamp", "\ufefftimestamp"),
  ),
  stored(
    "every key escaped in part",
    (id) =>
      eventWith(id).replaceAll(
        /"(\w)(\w+)":/g,
        (_, first: string, rest: string) => `"\\u00${first.charCodeAt(0).toString(16)}${rest}":`,
      ),
    { user_id: "user_1", event_data: '{"page_url":"/"}' },
  ),
];

const PURCHASES: readonly HostileKind[] = [
  stored(
    "a purchase, escaped, that says it is of low value",
    (id) =>
      eventWith(id, {
        event_type: '"\\u0070urchase"',
        event_data: '{"\\u0061mount":100.01,"is_high_value":false}',
      }),
    { event_type: "purchase", event_data: '{"amount":100.01,"is_high_value":true}' },
  ),
  stored(
    "a purchase whose amount is a text the last time",
    (id) => eventWith(id, { event_type: PURCHASE, event_data: '{"amount":500,"amount":"500"}' }),
    { event_data: '{"amount":"500"}' },
  ),
  stored(
    "a purchase with amounts elsewhere",
    (id) =>
      eventWith(id, {
        event_type: PURCHASE,
        event_data: '{"__proto__":{"amount":500},"order":{"amount":500}}',
        amount: "500",
      }),
    { event_data: '{"__proto__":{"amount":500},"order":{"amount":500}}' },
  ),
  stored(
    "a purchase of more than a double",
    (id) => eventWith(id, { event_type: PURCHASE, event_data: '{"amount":1e400}' }),
    { event_data: '{"amount":1e400,"is_high_value":true}' },
  ),
  stored(
    "a purchase of minus zero",
    (id) => eventWith(id, { event_type: PURCHASE, event_data: '{"amount":-0.00}' }),
    { event_data: '{"amount":-0.00,"is_high_value":false}' },
  ),
  stored("a purchase without data", (id) => eventWith(id, { event_type: PURCHASE, event_data: "{ \n}" }), {
    event_data: "{}",
  }),
  stored(
    "a purchase in another case",
    (id) => eventWith(id, { event_type: '"Purchase"', event_data: '{"amount":500}' }),
    { event_type: "Purchase", event_data: '{"amount":500}' },
  ),
];

/** The number in an id, as hours since 1970. */
function hourOf(id: string): string {
  const hours = Number(id.replaceAll(/\D/g, ""));
  return new Date(hours * 3_600_000).toISOString().slice(0, 19);
}

const OPEN_SETS: readonly HostileKind[] = [
  stored(
    "a type that no other event has",
    (id) => eventWith(id, { event_type: `"type of ${id}"` }),
    (id) => ({ event_type: `type of ${id}` }),
  ),
  stored(
    "a user that no other event has",
    (id) => eventWith(id, { user_id: JSON.stringify(id + "日".repeat(100 - id.length)) }),
    (id) => ({ user_id: id + "日".repeat(100 - id.length) }),
  ),
  stored(
    "an hour that no other event has",
    (id) => eventWith(id, { timestamp: `"${hourOf(id)}.5Z"` }),
    (id) => ({ timestamp: `${hourOf(id)}.500000Z` }),
  ),
];

export const HOSTILE_MEMBERS: readonly HostileKind[] = [...REPEATED, ...NAMES, ...PURCHASES, ...OPEN_SETS];
