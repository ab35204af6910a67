// Says in words how the tables differ from what they must hold.
import type { StoredHour } from "./stored-tables.ts";

export const MAX_SAMPLES = 5;

export function namedEvents(expected: ReadonlySet<number>, stored: readonly number[]): string[] {
  const found = new Set(stored);
  const name = (event: number) => `chaos_${event}`;
  return [
    ...missing("raw_events lacks", new Set([...expected].map(name)), new Set([...found].map(name))),
    ...missing("raw_events has too much", new Set([...found].map(name)), new Set([...expected].map(name))),
  ];
}

export function compareHours(
  expected: ReadonlyMap<string, StoredHour>,
  stored: readonly StoredHour[],
): string[] {
  const found = new Map(stored.map((row) => [`${row.hour} ${row.type}`, row]));
  const names = (from: ReadonlyMap<string, unknown>) => new Set(from.keys());
  return [
    ...missing("hourly_aggregations lacks", names(expected), names(found)),
    ...missing("hourly_aggregations has too much", names(found), names(expected)),
    ...[...expected].flatMap(([key, hour]) => {
      const row = found.get(key);
      if (row === undefined) return [];
      return differences(`hour ${key}`, [
        ["total_events", row.events, hour.events],
        ["unique_users", row.users, hour.users],
        ["rows of hourly_users", row.userRows, hour.userRows],
        ["total_duration_ms", row.durationMs, hour.durationMs],
        ["duration_count", row.durations, hour.durations],
      ]);
    }),
  ];
}

/** @param figures name, stored, expected */
export function differences(
  where: string,
  figures: readonly (readonly [string, number, number])[],
): string[] {
  return figures.flatMap(([name, stored, expected]) =>
    stored === expected ? [] : [`${where}: ${name} is ${stored}, the log says ${expected}`],
  );
}

export function missing(what: string, wanted: ReadonlySet<string>, found: ReadonlySet<string>): string[] {
  const lacking = [...wanted].filter((name) => !found.has(name));
  if (lacking.length === 0) return [];
  const more = lacking.length > MAX_SAMPLES ? ` and ${lacking.length - MAX_SAMPLES} more` : "";
  return [`${what}: ${lacking.slice(0, MAX_SAMPLES).join(", ")}${more}`];
}
