import { describe, expect, test } from "bun:test";
import type { HourDelta } from "../../shared/event.ts";
import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import { addToHours, type ClosedHours, closeHours } from "../../shared/store/hourly.ts";
import type { Session } from "../../shared/store/session.ts";
import { codeOf } from "../../shared/runtime/errors.ts";
import { Store } from "../../shared/store/store.ts";
import { eventText } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { seededRandom } from "../support/seeded-random.ts";
import {
  batchFrom,
  enter,
  everything,
  expectProven,
  freshStore,
  openSession,
  openStore,
  pipelineDatabase,
  STORE_OPTIONS,
} from "./pipeline-database.ts";

/** 2026-03-14T09:00:00Z */
const HOUR = 492_633;

function delta(changes: Partial<HourDelta> = {}): HourDelta {
  return {
    hour: HOUR,
    eventType: "page_view",
    totalEvents: 1,
    totalDurationMs: 0n,
    durationCount: 0,
    lateEvents: 0,
    unsavedEvents: 0,
    newUserCandidates: [],
    ...changes,
  };
}

describe("addToHours", () => {
  test("adds to existing rows, and counts each user once", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const add = (...deltas: HourDelta[]) => worker.session.transaction(5000, (tx) => addToHours(tx, deltas));
    expect(await add()).toEqual({ createdTypes: [], newUsers: 0, lateEvents: 0 });
    const first = delta({
      totalEvents: 3,
      totalDurationMs: 1501n,
      durationCount: 2,
      lateEvents: 1,
      newUserCandidates: ["u", "v"],
    });
    expect(await add(first, delta({ eventType: "login", newUserCandidates: ["u"] }))).toEqual({
      createdTypes: ["login", "page_view"],
      newUsers: 3,
      lateEvents: 1,
    });
    const second = delta({
      totalEvents: 2,
      totalDurationMs: 1n,
      durationCount: 1,
      unsavedEvents: 2,
      newUserCandidates: ["v", "w"],
    });
    // An existing row is not created, and an existing user is not new.
    expect(await add(second, delta({ hour: HOUR + 1 }))).toEqual({
      createdTypes: ["page_view"],
      newUsers: 1,
      lateEvents: 0,
    });
    const rows = await database.sql`
      select aggregation_hour, event_type, total_events::int, unique_users::int, total_duration_ms::text, duration_count::int,
        total_duration_seconds::text, round(avg_duration_seconds, 6)::text as average, unsaved_events::int, late_events::int, closed_at
      from hourly_aggregations order by 1, 2`;
    const empty = {
      total_duration_ms: "0",
      duration_count: 0,
      average: null,
      unsaved_events: 0,
      late_events: 0,
      closed_at: null,
    };
    expect(rows.map((row) => ({ ...row }))).toMatchObject([
      { ...empty, event_type: "login", total_events: 1, unique_users: 1 },
      {
        aggregation_hour: new Date(HOUR * HOUR_MS),
        event_type: "page_view",
        total_events: 5,
        unique_users: 3,
        total_duration_ms: "1502",
        duration_count: 3,
        average: "0.500667",
        unsaved_events: 2,
        late_events: 1,
      },
      { ...empty, aggregation_hour: new Date((HOUR + 1) * HOUR_MS), total_events: 1, unique_users: 0 },
    ]);
    expect(Number(rows[1]!["total_duration_seconds"])).toBe(1.502);
  });

  test("keeps a sum of durations beyond 2^63 ms exact", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const huge = delta({ totalDurationMs: 2n ** 63n + 1n, durationCount: 9_223_373 });
    for (let n = 0; n < 3; n++) await worker.session.transaction(5000, (tx) => addToHours(tx, [huge]));
    expect(await database.sql`select total_duration_ms::text from hourly_aggregations`).toMatchObject([
      { total_duration_ms: String(3n * (2n ** 63n + 1n)) },
    ]);
  });

  test("compares event types and users byte by byte", async () => {
    await using database = await pipelineDatabase();
    await using worker = await openStore(database);
    const texts = ["a", "A", "á", "a\u0301", "NULL", '","', "{}", "\\", '"', "\n", "日本", "😀", "\uffff"];
    const deltas = texts.map((eventType) => delta({ eventType, newUserCandidates: texts }));
    const { createdTypes, newUsers } = await worker.session.transaction(5000, (tx) => addToHours(tx, deltas));
    expect(createdTypes.toSorted()).toEqual(texts.toSorted());
    expect(newUsers).toBe(texts.length ** 2);
    const rows = await database.sql`select event_type, unique_users::int as users from hourly_aggregations`;
    expect(rows.map((row) => ({ ...row })).toSorted(byType)).toEqual(
      texts.map((event_type) => ({ event_type, users: texts.length })).toSorted(byType),
    );
  });
});

describe("two workers with the same hours and users", () => {
  test("never deadlock with events in any order", async () => {
    await using left = await freshStore(2);
    const { database } = left;
    await using right = await openStore(database);
    const commitBatches = async ({ session }: typeof left, partition: number): Promise<void> => {
      const random = seededRandom(partition + 1);
      for (let batch = 0; batch < 300; batch++) {
        const from = batch * 40;
        const values = Array.from({ length: 40 }, (_, n) =>
          eventText({
            event_id: `${partition}_${from + n}`,
            user_id: `user_${Math.floor(random() * 30)}`,
            event_type: `type_${Math.floor(random() * 6)}`,
            // New hours in every tenth batch, so that the workers race to insert rows as well as to update them.
            timestamp: new Date(
              (HOUR - Math.floor(random() * 3) - Math.floor(batch / 10) * 3) * HOUR_MS,
            ).toISOString(),
            duration_seconds: Math.round(random() * 1e6) / 1000,
          }),
        );
        // A store without memory sends all of its users every time.
        await new Store(session, STORE_OPTIONS).commit(batchFrom(from, values, partition));
      }
    };
    await Promise.all([commitBatches(left, 0), commitBatches(right, 1)]);
    await expectProven(database);
  });

  test.each([
    { what: "users", userCount: 300, typeCount: 4 },
    { what: "hours", userCount: 0, typeCount: 150 },
  ])("never deadlock over new $what in opposite orders", async ({ userCount, typeCount }) => {
    await using database = await pipelineDatabase();
    await database.sql.unsafe(`alter database "${database.name}" set deadlock_timeout = '20ms'`);
    await using left = await openStore(database);
    await using right = await openStore(database);
    const users = Array.from({ length: userCount }, (_, n) => `user_${n}`);
    const types = Array.from({ length: typeCount }, (_, n) => `type_${n}`);
    const rounds = 40;
    for (let round = 0; round < rounds; round++) {
      const deltas = [0, 1].flatMap((later) =>
        types.map((eventType) =>
          delta({ hour: HOUR - 2 * round + later, eventType, newUserCandidates: users }),
        ),
      );
      const reversed = deltas
        .toReversed()
        .map((each) => ({ ...each, newUserCandidates: each.newUserCandidates.toReversed() }));
      const added = await Promise.all([
        left.session.transaction(10_000, (tx) => addToHours(tx, deltas)),
        right.session.transaction(10_000, (tx) => addToHours(tx, reversed)),
      ]);
      // A user that is new to one worker is not new to the other.
      expect(added[0].newUsers + added[1].newUsers).toBe(deltas.length * users.length);
    }
    const wrong = await database.sql`
      select * from hourly_aggregations where unique_users <> ${users.length} or total_events <> 2`;
    expect([...wrong]).toEqual([]);
  });

  // A COPY keeps the order of the events. After a deadlock or a repeated key the batch is retried.
  test.each([
    { how: "by COPY", copyRawEvents: true, possible: ["40P01"] as string[] },
    { how: "by unnest", copyRawEvents: false, possible: [] as string[] },
  ])(
    "store each event once $how in opposite orders, with no error but $possible",
    async ({ copyRawEvents, possible }) => {
      await using database = await pipelineDatabase();
      // PostgreSQL looks for a deadlock after a second by default, and there may be many.
      await database.sql.unsafe(`alter database "${database.name}" set deadlock_timeout = '20ms'`);
      await using left = await openStore(database);
      await using right = await openStore(database);
      await enter(left.session, 2);
      const size = 200;
      const codes: (string | undefined)[] = [];
      const play = async ({ session }: typeof left, partition: number, round: number): Promise<void> => {
        const ids = Array.from({ length: size }, (_, n) => `e_${round}_${n}`);
        const values = (partition === 0 ? ids : ids.toReversed()).map((event_id) => eventText({ event_id }));
        for (;;) {
          try {
            await new Store(session, { ...STORE_OPTIONS, copyRawEvents }).commit(
              batchFrom(round * size, values, partition),
            );
            return;
          } catch (error) {
            codes.push(codeOf(error));
            if (codeOf(error) !== "40P01") throw error;
          }
        }
      };
      const rounds = 60;
      for (let round = 0; round < rounds; round++) {
        await Promise.all([play(left, 0, round), play(right, 1, round)]);
      }
      expect(codes.filter((code) => !possible.includes(code ?? ""))).toEqual([]);
      const rows =
        await database.sql`select stored::int, duplicates::int from pipeline_offsets order by partition`;
      const [first, second] = rows.map((row) => ({ ...row }) as { stored: number; duplicates: number });
      // An event that one worker stored is a duplicate of the other.
      expect(second).toEqual({ stored: first!.duplicates, duplicates: first!.stored });
      expect(first!.stored + first!.duplicates).toBe(rounds * size);
      await expectProven(database);
    },
  );
});

/** Closes the hours that are due; they are fewer than one call closes. @returns the number of rows */
async function closeAll(session: Session, graceMinutes: number): Promise<number> {
  const { rows, last } = await session.run((sql) => closeHours(sql, graceMinutes));
  expect(last).toBeUndefined();
  return rows;
}

describe("closeHours", () => {
  /** A database with hours that ended so many minutes ago by its clock, each with a type of that name. */
  async function withHoursEnded(minutesAgo: readonly number[]) {
    const database = await pipelineDatabase();
    for (const minutes of minutesAgo) {
      await database.sql`
        insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
          duration_count, unsaved_events, late_events)
        values (now() - interval '1 hour' - make_interval(mins => ${minutes}), ${String(minutes)}, 1, 1, 0, 0, 0, 0)`;
    }
    return database;
  }
  const closed = async ({ sql }: Awaited<ReturnType<typeof withHoursEnded>>) => {
    const rows =
      await sql`select event_type from hourly_aggregations where closed_at is not null order by event_type::int`;
    return rows.map(({ event_type }) => Number(event_type));
  };

  test("closes the hours that ended at least the grace period ago, once", async () => {
    await using database = await withHoursEnded([-60, -1, 0, 4, 6, 300]);
    const session = await openSession(database, { role: "main" });
    expect(await closeAll(session, 5)).toBe(2);
    expect(await closed(database)).toEqual([6, 300]);
    const before = await everything(database);
    expect(await closeAll(session, 5)).toBe(0);
    expect(await everything(database)).toEqual(before);
    expect(await closeAll(session, 0)).toBe(2);
    expect(await closed(database)).toEqual([0, 4, 6, 300]);
    session.destroy();
  });

  test("accepts a fraction of a minute", async () => {
    await using database = await withHoursEnded([1]);
    const session = await openSession(database, { role: "main" });
    expect(await closeAll(session, 1.5)).toBe(0);
    expect(await closeAll(session, 0.5)).toBe(1);
    session.destroy();
  });

  test("skips the rows that a worker has locked, without waiting", async () => {
    await using database = await withHoursEnded([10, 20, 30]);
    const session = await openSession(database, { role: "main" });
    await using worker = await openStore(database);
    await worker.session.transaction(20_000, async (tx) => {
      await tx`select 1 from hourly_aggregations where event_type = '20' for update`;
      expect(await closeAll(session, 5)).toBe(2);
      expect(await closed(database)).toEqual([10, 30]);
    });
    expect(await closeAll(session, 5)).toBe(1);
    expect(await closed(database)).toEqual([10, 20, 30]);
    session.destroy();
  });

  test("closes very many rows in transactions of a few thousand, from the oldest hour on", async () => {
    await using database = await pipelineDatabase();
    await database.sql`
      insert into hourly_aggregations (aggregation_hour, event_type, total_events, unique_users, total_duration_ms,
        duration_count, unsaved_events, late_events)
      select timestamptz '2026-03-14 09:00Z' - make_interval(hours => n % 3), 'type ' || n, 1, 1, 0, 0, 0, 0
      from generate_series(1, 7000) n`;
    const session = await openSession(database, { role: "main" });
    const calls: ClosedHours[] = [];
    do {
      calls.push(await session.run((sql) => closeHours(sql, 5, calls.at(-1)?.last)));
    } while (calls.at(-1)!.last !== undefined);
    expect(calls.map(({ rows }) => rows)).toEqual([2000, 2000, 2000, 1000]);
    const transactions = await database.sql`
      select count(*)::int as rows, min(aggregation_hour) as first, max(aggregation_hour) as last
      from hourly_aggregations where closed_at is not null group by xmin::text::bigint order by xmin::text::bigint`;
    expect(transactions.map(({ rows }) => rows)).toEqual([2000, 2000, 2000, 1000]);
    for (const [index, { first }] of transactions.entries()) {
      if (index > 0) expect(first >= transactions[index - 1]!["last"]).toBe(true);
    }
    session.destroy();
  });

  test("leaves an hour closed that still counts late events", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(
      batchFrom(0, [eventText({ event_id: "a", timestamp: "2026-03-14T07:59:59Z" })]),
    );
    await closeAll(worker.session, 5);
    const [before] = await database.sql`select closed_at from hourly_aggregations`;
    await worker.store.commit(
      batchFrom(1, [eventText({ event_id: "b", timestamp: "2026-03-14T07:00:00Z" })]),
    );
    const [after] =
      await database.sql`select closed_at, total_events::int, late_events::int from hourly_aggregations`;
    expect(before!["closed_at"]).not.toBeNull();
    // Both events are late by the clock of their batch, 09:26.
    expect(after).toMatchObject({ closed_at: before!["closed_at"], total_events: 2, late_events: 2 });
    await expectProven(database);
  });
});

describe("a closed hour", () => {
  const event = (event_id: string) => eventText({ event_id, timestamp: "2026-03-14T09:10:00Z" });
  const hour = async ({ sql }: TestDatabase) => {
    const [row] = await sql`
      select total_events::int as total, late_events::int as late, closed_at is not null as "isClosed"
      from hourly_aggregations`;
    return { ...row };
  };

  test("counts events as late whose batch was opened before it was due", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    // By the clock of the batches, 09:26, the hour is not due.
    await worker.store.commit(batchFrom(0, [event("a"), event("b")]));
    expect(await hour(database)).toEqual({ total: 2, late: 0, isClosed: false });
    await closeAll(worker.session, 5);
    const report = await worker.store.commit(batchFrom(2, [event("c"), event("b"), event("d"), "{"]));
    expect(report.lateEvents).toBe(2);
    expect(await hour(database)).toEqual({ total: 4, late: 2, isClosed: true });
    await expectProven(database);
  });

  test("counts events as late that waited while it was being closed", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a")]));
    await using other = await openStore(database);
    let commit: Promise<unknown> | undefined;
    await other.session.sql.begin(async (tx) => {
      await tx`update hourly_aggregations set closed_at = clock_timestamp()`;
      commit = worker.store.commit(batchFrom(1, [event("b"), event("c")]));
      await eventually("the batch waits for the row", async () => {
        const [row] = await database.sql`
          select wait_event_type from pg_stat_activity where pid = ${worker.session.backendPid}`;
        return row?.["wait_event_type"] === "Lock";
      });
    });
    await commit;
    expect(await hour(database)).toEqual({ total: 3, late: 2, isClosed: true });
  });

  test("is not closed while a batch that has reached it is in flight", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    await worker.store.commit(batchFrom(0, [event("a")]));
    await using main = await openStore(database);
    await worker.session.transaction(20_000, async (tx) => {
      await addToHours(tx, [delta({ totalEvents: 2 })]);
      expect(await closeAll(main.session, 5)).toBe(0);
    });
    expect(await hour(database)).toEqual({ total: 3, late: 0, isClosed: false });
    expect(await closeAll(main.session, 5)).toBe(1);
  });

  test("counts only the late events of a delta while it is open", async () => {
    await using worker = await freshStore();
    const { database } = worker;
    const add = (...deltas: HourDelta[]) => worker.session.transaction(5000, (tx) => addToHours(tx, deltas));
    expect(await add(delta({ totalEvents: 3, lateEvents: 3 }))).toMatchObject({ lateEvents: 3 });
    expect(await add(delta({ totalEvents: 4 }))).toMatchObject({ lateEvents: 0 });
    await closeAll(worker.session, 5);
    // The other type and the other hour have open rows of their own.
    const others = [delta({ eventType: "login", totalEvents: 7 }), delta({ hour: HOUR + 1, totalEvents: 9 })];
    expect(await add(delta({ totalEvents: 5 }), ...others)).toMatchObject({ lateEvents: 5 });
    expect(
      await database.sql`select total_events::int as total, late_events::int as late from hourly_aggregations order by 1`,
    ).toMatchObject([
      { total: 7, late: 0 },
      { total: 9, late: 0 },
      { total: 12, late: 8 },
    ]);
  });
});

function byType(a: object, b: object): number {
  const [left, right] = [a, b].map((row) => (row as { event_type: string }).event_type);
  return left! < right! ? -1 : 1;
}
