import { describe, expect, test } from "bun:test";
import { Ledger } from "./ledger.ts";
import { LogHistories, type LogKey } from "./log-history.ts";
import { codeOf, eventOf, factsOf, isBroken } from "./record.ts";
import { mixOf, type StoredHour, type StoredPartition, type StoredTables } from "./stored-tables.ts";

const BASE_HOUR = 495_000;
const A: LogKey = { topic: "chaos", topicId: "id", partition: 0 };
const B: LogKey = { topic: "chaos", topicId: "id", partition: 1 };

/** Records 0 to 599 in turn in two partitions: events, repeats and broken ones. */
function ledgerOf(): Ledger {
  const histories = new LogHistories();
  for (let number = 0; number < 600; number++) {
    histories.of(number % 2 === 0 ? A : B).add(Math.floor(number / 2), codeOf(number));
  }
  return new Ledger(histories, BASE_HOUR);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** What a pipeline stores of these records, which it read in this order. */
function stored(
  numbers: readonly number[],
  partitions: readonly Omit<StoredPartition, "stored" | "duplicates">[],
): StoredTables {
  const events = new Set(numbers.filter((number) => !isBroken(number)).map(eventOf));
  const all = [...events];
  const groups = Map.groupBy(all, (event) => {
    const { hour, type } = factsOf(event, BASE_HOUR);
    return `${hour} ${type}`;
  });
  const hours = [...groups].map(([key, group]): StoredHour => {
    const facts = group.map((event) => factsOf(event, BASE_HOUR));
    const durations = facts.flatMap(({ durationMs }) => durationMs ?? []);
    const users = new Set(facts.map(({ user }) => user)).size;
    return {
      hour: Number(key.split(" ")[0]),
      type: key.split(" ")[1]!,
      events: group.length,
      users,
      userRows: users,
      durationMs: durations.reduce((sum, ms) => sum + ms, 0),
      durations: durations.length,
    };
  });
  // Which partition a duplicate is charged to does not matter: all of them go to the first.
  const valid = partitions.map(({ consumed, deadLettered }) => consumed - deadLettered);
  let duplicates = valid.reduce((sum, count) => sum + count, 0) - events.size;
  return {
    partitions: partitions.map((row, index) => {
      const charged = Math.min(duplicates, valid[index]!);
      duplicates -= charged;
      return { ...row, stored: valid[index]! - charged, duplicates: charged };
    }),
    raw: {
      count: all.length,
      sum: all.reduce((sum, event) => sum + event, 0),
      mix: all.reduce((sum, event) => sum + mixOf(event), 0),
    },
    wrongRaw: 0,
    hours,
    letters: partitions.flatMap((row) =>
      range(row.first, row.next).flatMap((offset) =>
        isBroken(offset * 2 + row.partition) ? [{ ...row, offset }] : [],
      ),
    ),
  };
}

/** A row that has read all up to `next`. */
function rowUpTo(key: LogKey, next: number): Omit<StoredPartition, "stored" | "duplicates"> {
  const broken = range(0, next).filter((offset) => isBroken(offset * 2 + key.partition)).length;
  return { ...key, reading: 0, first: 0, next, consumed: next, deleted: 0, gaps: 0, deadLettered: broken };
}

const CORRECT = stored(range(0, 600), [rowUpTo(A, 300), rowUpTo(B, 300)]);

async function problemsOf(
  tables: StoredTables,
  storedEvents: readonly number[] = [],
): Promise<readonly string[]> {
  return (await ledgerOf().contradictions(tables, async () => [...storedEvents])).problems;
}

describe("the ledger of a chaos run", () => {
  test("finds nothing wrong with tables that hold the fold of the whole log", async () => {
    expect(await problemsOf(CORRECT)).toEqual([]);
    expect(CORRECT.letters.length).toBeGreaterThan(0);
    expect(CORRECT.partitions.some(({ duplicates }) => duplicates > 0)).toBe(true);
  });

  test("finds nothing wrong with a prefix of each partition", async () => {
    const read = [...range(0, 300).filter((n) => n % 2 === 0), ...range(0, 100).filter((n) => n % 2 === 1)];
    expect(await problemsOf(stored(read, [rowUpTo(A, 150), rowUpTo(B, 50)]))).toEqual([]);
  });

  test("names an event that is lost and one that is too much", async () => {
    const { raw } = CORRECT;
    const events = [
      ...new Set(
        range(0, 600)
          .filter((number) => !isBroken(number))
          .map(eventOf),
      ),
    ];
    const other = events.map((event) => (event === 5 ? 777_777 : event));
    const wrong = { ...raw, sum: raw.sum - 5 + 777_777, mix: raw.mix - mixOf(5) + mixOf(777_777) };
    const problems = await problemsOf({ ...CORRECT, raw: wrong }, other);
    expect(problems).toContain("raw_events lacks: chaos_5");
    expect(problems).toContain("raw_events has too much: chaos_777777");
  });

  test("counts what is lost and what is doubled", async () => {
    const { raw } = CORRECT;
    const ledger = ledgerOf();
    const less = { ...raw, count: raw.count - 2 };
    const more = { ...raw, count: raw.count + 3 };
    const none = async () => [];
    expect(await ledger.contradictions({ ...CORRECT, raw: less }, none)).toMatchObject({
      lost: 2,
      doubled: 0,
    });
    expect(await ledger.contradictions({ ...CORRECT, raw: more }, none)).toMatchObject({
      lost: 0,
      doubled: 3,
    });
  });

  test("finds two swapped events whose numbers have the same sum", async () => {
    const { raw } = CORRECT;
    const mix = raw.mix - mixOf(10) - mixOf(20) + mixOf(9) + mixOf(21);
    expect(await problemsOf({ ...CORRECT, raw: { ...raw, mix } })).not.toEqual([]);
  });

  test("finds an event that an hour counts twice, and a user too many", async () => {
    const [first, ...others] = CORRECT.hours;
    const doubled = { ...first!, events: first!.events + 1 };
    expect((await problemsOf({ ...CORRECT, hours: [doubled, ...others] })).join()).toContain("total_events");
    const user = { ...first!, userRows: first!.userRows + 1 };
    expect((await problemsOf({ ...CORRECT, hours: [user, ...others] })).join()).toContain("hourly_users");
    expect((await problemsOf({ ...CORRECT, hours: others })).join()).toContain("hourly_aggregations lacks");
  });

  test("finds a dead letter that is missing, and one that is none", async () => {
    const [letter, ...others] = CORRECT.letters;
    expect((await problemsOf({ ...CORRECT, letters: others })).join()).toContain("dead_letter_events lacks");
    const letters = [...CORRECT.letters, { ...letter!, offset: letter!.offset + 1 }];
    expect((await problemsOf({ ...CORRECT, letters })).join()).toContain("dead_letter_events has too much");
  });

  test("finds an offset that was passed over without a word", async () => {
    const [a, b] = CORRECT.partitions;
    const further = { ...a!, next: a!.next + 1 };
    expect((await problemsOf({ ...CORRECT, partitions: [further, b!] })).join()).toContain(
      "the log holds nothing at 300",
    );
    const silent = { ...a!, consumed: a!.consumed - 1, gaps: 1 };
    expect((await problemsOf({ ...CORRECT, partitions: [silent, b!] })).join()).toContain("gaps is 1");
  });

  test("demands that deleted records are counted as deleted", async () => {
    const ledger = ledgerOf();
    ledger.deletions.push({ ...A, reading: 0, from: 100, to: 150 });
    const read = range(0, 600).filter((number) => number % 2 === 1 || number < 200 || number >= 300);
    const broken = range(0, 300).filter((o) => (o < 100 || o >= 150) && isBroken(o * 2)).length;
    const a = { ...rowUpTo(A, 300), consumed: 250, deleted: 50, deadLettered: broken };
    const tables = stored(read, [a, rowUpTo(B, 300)]);
    const letters = tables.letters.filter(
      ({ partition, offset }) => partition === 1 || offset < 100 || offset >= 150,
    );
    const none = async () => [];
    expect((await ledger.contradictions({ ...tables, letters }, none)).problems).toEqual([]);
    const silent = {
      ...tables,
      letters,
      partitions: tables.partitions.map((row) => ({ ...row, deleted: 0, gaps: row.deleted })),
    };
    expect((await ledger.contradictions(silent, none)).problems.join()).toContain("deleted is 0");
  });

  test("reads a cut log by its generations: the earlier reading what was there before, the later one what came then", async () => {
    const histories = new LogHistories();
    const history = histories.of(A);
    for (const number of range(0, 50)) history.add(number, number);
    history.cutAt(40);
    for (const number of range(40, 60)) history.add(number, number + 1000);
    const ledger = new Ledger(histories, BASE_HOUR);
    const row = { ...A, gaps: 0, deleted: 0, deadLettered: 0, duplicates: 0 };
    const earlier = { ...row, reading: 0, first: 0, next: 50, consumed: 50, stored: 50 };
    const later = { ...row, reading: 1, first: 40, next: 60, consumed: 20, stored: 20 };
    const numbers = [...range(0, 50), ...range(1040, 1060)].filter((number) => !isBroken(number));
    const tables = { ...stored(numbers, []), partitions: [earlier, later] };
    // Records 0 to 49 and 1040 to 1059 have no repeat and no broken one among them.
    expect(numbers).toHaveLength(70);
    expect((await ledger.contradictions(tables, async () => [])).problems).toEqual([]);
    // Where the consumer cannot know the cut it reads again all that there is.
    const again = { ...later, first: 0, consumed: 60, stored: 20, duplicates: 40 };
    const whole = { ...tables, partitions: [earlier, again] };
    expect((await ledger.contradictions(whole, async () => [])).problems).toEqual([]);
    const skipped = { ...tables, partitions: [{ ...earlier, next: 60, consumed: 60, stored: 60 }] };
    expect((await ledger.contradictions(skipped, async () => [])).problems).not.toEqual([]);
  });

  test("names an acknowledged record that the log lost without a cut, and counts those that a cut took", () => {
    const ledger = ledgerOf();
    expect(ledger.checkAcknowledged(A, [{ offset: 3, number: 6 }])).toEqual({ problems: [], cut: 0 });
    expect(ledger.checkAcknowledged(A, [{ offset: -1, number: 6 }])).toEqual({ problems: [], cut: 0 });
    const { problems } = ledger.checkAcknowledged(A, [{ offset: 3, number: 8 }]);
    expect(problems.join()).toContain("1 acknowledged records are not in the log: record 8 at 3");
    ledger.histories.of(A).cutAt(2);
    expect(ledger.checkAcknowledged(A, [{ offset: 3, number: 6 }])).toEqual({ problems: [], cut: 1 });
  });
});
