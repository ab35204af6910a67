// Makes databases with committed batches of every kind of event and dead letter.
import { checkDatabase } from "../../shared/store/check/check.ts";
import type { CheckReport } from "../../shared/store/check/report.ts";
import type { StoreOptions } from "../../shared/store/store.ts";
import { type TestDatabase, sharedPostgres } from "../support/postgres.ts";
import { REFUSED_DATA, refuseContent } from "../support/refused-content.ts";
import { batchOf, eventText, eventTextWith, type TestRecord } from "../pipeline/record.ts";
import { enter, migrateDatabase, openSession, openStore, partitionKey } from "../store/pipeline-database.ts";

type Changes = Readonly<Record<string, unknown>>;

function pageView(id: string, changes: Changes = {}): string {
  return eventText({ event_id: id, user_id: "ann", timestamp: "2026-03-14T08:10:00Z", ...changes });
}

function purchase(id: string, eventData: string, changes: Changes = {}): string {
  return eventTextWith(eventData, { event_id: id, user_id: "bob", event_type: "purchase", ...changes });
}

/** Partition 0, two batches. Offsets 10, 16 and 17 hold no record. */
const FIRST: readonly TestRecord[] = [
  { offset: 4, value: pageView("e1", { duration_seconds: 1.5 }) },
  { offset: 5, value: pageView("e2", { user_id: "bea" }) },
  { offset: 6, value: pageView("e3", { duration_seconds: 0.25 }) },
  { offset: 7, value: pageView("e1") },
  { offset: 8, value: pageView("e4", { timestamp: "2026-03-14T08:59:59.999999Z", user_id: "cal" }) },
  { offset: 9, value: pageView("e5", { timestamp: "2026-03-14T09:00:00Z" }) },
  { offset: 11, value: purchase("p1", '{"amount":150,"currency":"EUR"}') },
  { offset: 12, value: purchase("p2", '{"amount":20}', { duration_seconds: 1e9 }) },
  { offset: 13, value: purchase("p3", '{"amount":"12"}') },
  { offset: 14, value: "not JSON" },
  { offset: 15, value: undefined },
];
const SECOND: readonly TestRecord[] = [
  { offset: 18, value: pageView("e3") },
  { offset: 19, value: pageView("e6", { user_id: "dan", duration_seconds: null }) },
  // Amounts that a double and a numeric compare differently, or that only one of them can hold.
  { offset: 20, value: purchase("p4", '{"amount":100.00000000000000001}') },
  { offset: 21, value: purchase("p5", '{"amount":100.00000000000002}') },
  { offset: 22, value: purchase("p6", '{"amount":1e400}') },
  { offset: 23, value: purchase("p7", '{"amount":1e-400,"amount":-1e-400}') },
  // The producer's flag is replaced for a purchase with an amount, and kept otherwise.
  { offset: 24, value: purchase("p8", '{"is_high_value":true,"amount":100}') },
  { offset: 25, value: purchase("p9", '{"is_high_value":true}') },
  { offset: 26, value: pageView("e7", { event_data: { is_high_value: "yes" } }) },
  { offset: 27, value: pageView('e8 "quoted\\" é\u001b[31m', { user_id: "{,}", duration_seconds: 0 }) },
];
/** Partition 1, one batch: a dead letter for every reason, and duplicates of partition 0. */
const THIRD: readonly TestRecord[] = [
  { offset: 0, value: undefined, key: "k" },
  { offset: 1, value: `"${"x".repeat(1_048_576)}"` },
  { offset: 2, value: new Uint8Array([0x22, 0xff, 0x22]), headers: [{ name: "h", value: undefined }] },
  { offset: 3, value: "{" },
  { offset: 4, value: `${"[".repeat(101)}${"]".repeat(101)}` },
  { offset: 5, value: "[]" },
  { offset: 6, value: eventText({ event_id: undefined }) },
  { offset: 7, value: eventText({ user_id: 7 }) },
  { offset: 8, value: eventText({ duration_seconds: -1 }) },
  { offset: 9, value: eventText({ timestamp: "yesterday" }) },
  { offset: 10, value: eventText({ timestamp: "2026-03-15T09:26:53.590Z" }) },
  { offset: 11, value: eventText({ event_data: { text: "\u0000" } }) },
  { offset: 12, value: eventTextWith(REFUSED_DATA, { event_id: "refused" }) },
  { offset: 13, value: pageView("e1") },
  { offset: 14, value: pageView("f1", { user_id: "eve", timestamp: "2026-02-01T00:00:00Z" }) },
  // Too large for the check to fetch it together with others.
  { offset: 15, value: `{"padding":"${"x".repeat(70_000)}"}` },
];

async function commit(
  database: TestDatabase,
  partition: number,
  from: number,
  records: readonly TestRecord[],
  options: Partial<StoreOptions> = {},
): Promise<void> {
  await using opened = await openStore(database, options);
  await opened.store.commit(batchOf(records, [{ ...partitionKey(partition), from }]));
}

async function fill(database: TestDatabase): Promise<void> {
  await migrateDatabase(database);
  await refuseContent(database);
  const session = await openSession(database);
  await enter(session, 3);
  await session.sql`update pipeline_offsets set first_offset = 2, next_offset = 2 where partition = 0`;
  await session.close();
  await commit(database, 0, 2, FIRST);
  await commit(database, 0, 16, SECOND);
  await commit(database, 1, 0, THIRD);
  // Its only event was processed an hour later, as a late one.
  await database.sql`update hourly_aggregations set closed_at = '2026-03-14T08:00:00Z'
    where aggregation_hour = '2026-02-01T00:00:00Z'`;
}

/** Events without raw rows: in an hour that also has events with raw rows, and in one that has none. */
const UNSAVED: readonly TestRecord[] = [
  { offset: 0, value: pageView("u1", { user_id: "ann", duration_seconds: 2 }) },
  { offset: 1, value: pageView("u2", { user_id: "zoe" }) },
  { offset: 2, value: pageView("u2", { user_id: "zoe" }) },
  { offset: 3, value: pageView("u3", { event_type: "login" }) },
  { offset: 4, value: "{" },
];

/** A database without a fault. */
export async function healthyDatabase(): Promise<TestDatabase> {
  const server = await sharedPostgres();
  return await server.database({ prepared: { name: "healthy", prepare: fill } });
}

/** A database to which partition 2 was written with SAVE_RAW_EVENTS=false. */
export async function partlyUnsavedDatabase(): Promise<TestDatabase> {
  const server = await sharedPostgres();
  const prepare = async (database: TestDatabase): Promise<void> => {
    await fill(database);
    await commit(database, 2, 0, UNSAVED, { saveRawEvents: false });
  };
  return await server.database({ prepared: { name: "partly unsaved", prepare } });
}

/** The report of a check. */
export async function check(database: TestDatabase): Promise<CheckReport> {
  const session = await openSession(database, { role: "check" });
  try {
    return await checkDatabase(session.sql);
  } finally {
    await session.close();
  }
}

/** The names of the invariants that do not hold. */
export function broken({ invariants }: CheckReport): string[] {
  return invariants.filter(({ ok }) => !ok).map(({ name }) => name);
}
