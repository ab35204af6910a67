// Fills hours of a database, and prunes it as the consumer does.
import { checkDatabase, type CheckOptions } from "../../../shared/store/check/check.ts";
import type { CheckReport } from "../../../shared/store/check/report.ts";
import type { RetentionDays } from "../../../shared/store/retention/cutoff.ts";
import { Retention, type RetentionProgress } from "../../../shared/store/retention/retention.ts";
import type { Session } from "../../../shared/store/session.ts";
import { eventText } from "../../pipeline/record.ts";
import type { TestDatabase } from "../../support/postgres.ts";
import { batchFrom, openSession, type TestStore } from "../pipeline-database.ts";

/** Milliseconds since 1970 of an hour of the day of the tests' events. */
export function hourMs(hour: number): number {
  return Date.UTC(2026, 2, 14, hour);
}

/** A retention whose cut-off is this hour. */
export function daysTo(hour: number): number {
  return (Date.now() - hourMs(hour)) / 86_400_000;
}

/** The values of events of one hour: two types, some users each, every third with a duration. */
export function eventsOfHour(hour: number, count: number, prefix = "e"): string[] {
  return Array.from({ length: count }, (_, index) =>
    eventText({
      event_id: `${prefix}_${hour}_${index}`,
      user_id: `user_${index % 37}`,
      event_type: index % 2 === 0 ? "click" : "search",
      timestamp: new Date(hourMs(hour) + (index % 3600) * 1000).toISOString(),
      event_data: { page: "x".repeat(100) },
      duration_seconds: index % 3 === 0 ? 1.5 : null,
    }),
  );
}

/** Stores events of the hours 5 to 9 in partition 0, in this order. @returns the next offset */
export async function fillHours({ store }: TestStore, eventsAnHour: number): Promise<number> {
  let offset = 0;
  for (let hour = 5; hour < 10; hour++) {
    await store.commit(batchFrom(offset, eventsOfHour(hour, eventsAnHour)));
    offset += eventsAnHour;
  }
  return offset;
}

/** Prunes until nothing is due. @returns false where another process is at it */
export async function prune(
  database: TestDatabase,
  days: RetentionDays,
  progress: Partial<RetentionProgress> = {},
): Promise<boolean> {
  const session = await openSession(database, { role: "main" });
  try {
    return await new Retention(days).run(session, {
      onStep: () => undefined,
      isToStop: () => false,
      ...progress,
    });
  } finally {
    await session.close();
  }
}

/** What `bun run check` finds. */
export async function check(database: TestDatabase, options: CheckOptions = {}): Promise<CheckReport> {
  const session: Session = await openSession(database, { role: "check" });
  try {
    return await checkDatabase(session.sql, options);
  } finally {
    await session.close();
  }
}

/** The proofs that do not hold, in words. */
export function broken({ invariants }: CheckReport): string[] {
  return invariants.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
}
