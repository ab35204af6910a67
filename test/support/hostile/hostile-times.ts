// Lists records whose timestamps are hostile: at the edges of the calendar, of the zones and of what is accepted.
import { escaped, eventWith, type HostileKind, rejected, stored } from "./hostile-kind.ts";

const HOUR_MS = 3_600_000;

function withTime(id: string, timestamp: string): string {
  return eventWith(id, { timestamp: JSON.stringify(timestamp) });
}

/** Timestamps, and the instants that must be stored. */
const ACCEPTED: readonly (readonly [name: string, timestamp: string, instant: string])[] = [
  ["the zone +23:59", "2026-01-01T10:00:00+23:59", "2025-12-31T10:01:00.000000Z"],
  ["the zone -23:59", "2026-01-01T10:00:00-23:59", "2026-01-02T09:59:00.000000Z"],
  ["the zone -00:00", "2026-01-01T10:00:00-00:00", "2026-01-01T10:00:00.000000Z"],
  ["1969 that is 1970 in UTC", "1969-12-31T12:00:00-12:00", "1970-01-01T00:00:00.000000Z"],
  ["a fraction that must not be rounded up", "2026-01-01T09:59:59.9999999Z", "2026-01-01T09:59:59.999999Z"],
  [
    "a fraction of 6,000 digits",
    `2026-01-01T10:00:00.${"123456".repeat(1000)}Z`,
    "2026-01-01T10:00:00.123456Z",
  ],
  ["the leap day of a century", "2000-02-29T23:59:59Z", "2000-02-29T23:59:59.000000Z"],
  ["small letters and a comma", "2026-01-01t10:00:00,5z", "2026-01-01T10:00:00.500000Z"],
];

/** Timestamps that name no instant which is accepted. */
const REFUSED: readonly (readonly [name: string, timestamp: string])[] = [
  ["a leap second", "2016-12-31T23:59:60Z"],
  ["the hour 24", "2026-01-01T24:00:00Z"],
  ["the year 0", "0000-01-01T00:00:00Z"],
  ["a year before Christ", "-000044-03-15T12:00:00Z"],
  ["1970 that is 1969 in UTC", "1970-01-01T23:58:59+23:59"],
  ["9999 that is the year 10000 in UTC", "9999-12-31T23:59:59-00:01"],
  ["the zone +24:00", "2026-01-01T10:00:00+24:00"],
  ["no leap day", "2100-02-29T00:00:00Z"],
  ["a week date", "2026-W01-4T10:00:00Z"],
  ["an ordinal date", "2026-001T10:00:00Z"],
  ["Arabic digits", "٢٠٢٦-٠١-٠١T١٠:٠٠:٠٠Z"],
  ["a true minus sign", "2026-01-01T10:00:00\u221205:00"],
  ["the name of a zone", "2026-01-01T10:00:00+01:00[Europe/Berlin]"],
  ["a newline at the end", "2026-01-01T10:00:00Z\n"],
  ["seconds since 1970", "1767225600"],
  ["the form of mails", "Thu, 01 Jan 2026 10:00:00 +0000"],
  ["infinity", "infinity"],
  ["a word of PostgreSQL", "now"],
];

export const HOSTILE_TIMES: readonly HostileKind[] = [
  ...ACCEPTED.map(([name, timestamp, instant]) =>
    stored(name, (id) => withTime(id, timestamp), { timestamp: instant }),
  ),
  ...REFUSED.map(([name, timestamp]) => rejected(name, "invalid_timestamp", (id) => withTime(id, timestamp))),
  stored(
    "a timestamp of escapes",
    (id) => eventWith(id, { timestamp: `"${escaped("2026-01-01T10:00:00.000001Z")}"` }),
    { timestamp: "2026-01-01T10:00:00.000001Z" },
  ),
  stored("almost a day ahead", (id) => withTime(id, new Date(Date.now() + 23 * HOUR_MS).toISOString())),
  rejected("the last second that a timestamp may name", "future_timestamp", (id) =>
    withTime(id, "9999-12-31T23:59:59.999999Z"),
  ),
];
