// Replays dead letters of a real database with the program, as they are and mended.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { broken, check } from "../check/checked-database.ts";
import { eventText, eventTextWith, eventWithId } from "../pipeline/record.ts";
import { everything, expectProven, ledgerOf } from "../store/pipeline-database.ts";
import { REFUSED_DATA, refuseContent } from "../support/refused-content.ts";
import { expectProofs, letterDatabase, lettersOf, run, statesOf } from "./letters.ts";

/** In the year 2100: the test's consumers refuse it, and a replay with a wide limit does not. */
const LATER = "2100-01-01T00:00:00Z";
const ANY_TIME = { MAX_FUTURE_SKEW_SECONDS: "10000000000" };
/** Letters that lack a user. */
const unnamed = (event_id: string, changes = {}): string =>
  eventText({ event_id, user_id: undefined, ...changes });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "letters-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes the file of --edit. */
async function edit(source: string): Promise<string> {
  const path = join(folder, `${crypto.randomUUID()}.ts`);
  await Bun.write(path, source);
  return path;
}

const ADD_USER = `export default (value: { user_id?: string }) => ({ ...value, user_id: "mended" });`;

describe("a replay", () => {
  test("leaves a letter open whose hour is past the retention by now", async () => {
    await using database = await letterDatabase([
      eventWithId("a"),
      eventText({ event_id: "b", timestamp: LATER }),
    ]);
    await database.sql`update pipeline_state set raw_events_cutoff = '2100-01-01T01:00:00Z'`;
    const { code, stdout } = await run(database, ["replay", "--all", "--json"], ANY_TIME);
    expect({ code, report: JSON.parse(stdout) as unknown }).toMatchObject({
      code: 1,
      report: { letters: 1, stored: 0, rejected: { expired: 1 } },
    });
    expect(await lettersOf(database)).toMatchObject([
      {
        state: "open",
        attempts: 1,
        attempt_error: expect.stringMatching(/^expired: the timestamp 2100-01-01T00:00:00.000Z is past/),
      },
    ]);
    await expectProofs(database);
  });

  test("stores a letter whose fault has ended, as it is, and moves its record in the ledger", async () => {
    await using database = await letterDatabase([
      eventWithId("a"),
      eventText({ event_id: "b", timestamp: LATER }),
      "{",
    ]);
    const { code, stdout } = await run(database, ["replay", "--all", "--json"], ANY_TIME);
    expect({ code, report: JSON.parse(stdout) as unknown }).toMatchObject({
      code: 1,
      report: { ok: false, dry_run: false, letters: 2, stored: 1, duplicates: 0, rejected: { not_json: 1 } },
    });
    expect(await lettersOf(database)).toMatchObject([
      {
        state: "stored",
        attempts: 1,
        event_id: "b",
        mended_value: null,
        attempt_error: null,
        is_changed: true,
      },
      {
        state: "open",
        attempts: 1,
        event_id: null,
        attempt_error: "not_json: the value (1 bytes) is not JSON",
      },
    ]);
    expect(await ledgerOf(database)).toMatchObject({
      consumed: 3,
      stored: 2,
      dead_lettered: 1,
      next_offset: 3,
    });
    await expectProven(database);
    await expectProofs(database);
  });

  test("stores mended letters, and keeps their bytes and what they became", async () => {
    const values = [unnamed("a"), unnamed("b")];
    await using database = await letterDatabase(values, [unnamed("c")]);
    const { code, stdout } = await run(database, ["replay", "--all", "--edit", await edit(ADD_USER)]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^replayed 3 dead letters \(.*\/s\): 3 stored, 0 duplicates, 0 rejected again\n$/);
    const letters = await lettersOf(database);
    expect(letters.map(({ value }) => value?.toString())).toEqual([...values, unnamed("c")]);
    expect(letters.map(({ state, event_id }) => [state, event_id])).toEqual([
      ["stored", "a"],
      ["stored", "b"],
      ["stored", "c"],
    ]);
    expect(JSON.parse(letters[0]!.mended_value!.toString())).toMatchObject({
      event_id: "a",
      user_id: "mended",
    });
    const users = await database.sql`select user_id from raw_events`;
    expect(users.map(({ user_id }) => user_id as string)).toEqual(["mended", "mended", "mended"]);
    await expectProven(database);
    await expectProofs(database);
  });

  test("counts an event that is stored already as a duplicate, and of two letters with one id the second", async () => {
    await using database = await letterDatabase([eventWithId("a"), unnamed("a"), unnamed("b"), unnamed("b")]);
    const { code } = await run(database, ["replay", "--all", "--edit", await edit(ADD_USER)]);
    expect(code).toBe(0);
    expect(await statesOf(database)).toEqual(["duplicate", "stored", "duplicate"]);
    expect(await ledgerOf(database)).toMatchObject({ stored: 2, duplicates: 2, dead_lettered: 0 });
    await expectProven(database);
    await expectProofs(database);
  });

  test("gives the function what the value is, and its place, and keeps the digits of numbers", async () => {
    const digits =
      '{"amount":12345678901234567890.123456789,"tiny":1e-400,"n":0.1,"float":0.12345678901234568}';
    await using database = await letterDatabase([
      eventTextWith(digits, { event_id: "digits", user_id: undefined }),
      "not JSON",
      new Uint8Array([0xff]),
      undefined,
    ]);
    const path = await edit(`
      export default async (value: any, letter: any) => {
        const kind = value instanceof Uint8Array ? "bytes" : typeof value;
        if (kind === "object") return { ...value, user_id: "u", event_data: { ...value.event_data, float: value.event_data.float * 1 } };
        const seen = [kind, letter.id, letter.reason, letter.bytes?.length ?? null];
        return JSON.stringify({
          event_id: letter.id, user_id: "u", event_type: "click", timestamp: "2026-03-14T09:00:00Z", event_data: { seen },
        });
      };`);
    expect((await run(database, ["replay", "--all", "--edit", path])).code).toBe(0);
    const rows = await database.sql<{ event_id: string; data: string }[]>`
      select event_id, event_data::text as data from raw_events order by event_id`;
    expect(rows.map(({ data }) => data)).toEqual([
      expect.stringContaining('"amount": 12345678901234567890.123456789'),
      '{"seen": ["string", "user-events/0/1", "not_json", 8]}',
      '{"seen": ["bytes", "user-events/0/2", "not_utf8", 1]}',
      '{"seen": ["undefined", "user-events/0/3", "tombstone", null]}',
    ]);
    expect(rows[0]!.data).toContain('"float": 0.12345678901234568');
    expect(rows[0]!.data).toContain(`"tiny": 0.${"0".repeat(399)}1`);
    await expectProofs(database);
  });

  test("leaves open what the function leaves alone, fails on, or does not mend, and says why", async () => {
    await using database = await letterDatabase(["1", "2", "3", "4"]);
    const path = await edit(`
      export default (value: number) => {
        if (value === 1) return undefined;
        if (value === 2) throw new Error("no \\u0000 idea");
        if (value === 3) return () => {};
        return "x".repeat(2_000_000);
      };`);
    const { code, stdout } = await run(database, ["replay", "--all", "--edit", path]);
    expect(code).toBe(1);
    expect(stdout).toContain("1 left alone, 3 rejected again");
    expect(stdout).toContain("rejected, and still open: 3 edit");
    expect(stdout).toContain("user-events/0/1  edit: no \\u{0} idea");
    expect(await lettersOf(database)).toMatchObject([
      { state: "open", attempts: 0, attempt_error: null, is_changed: false },
      { state: "open", attempts: 1, attempt_error: "edit: no \\u{0} idea" },
      { state: "open", attempts: 1, attempt_error: "edit: the function has returned a function" },
      {
        state: "open",
        attempts: 1,
        attempt_error: expect.stringContaining("2,000,000 bytes; at most 1,048,576"),
      },
    ]);
    await expectProofs(database);
  });

  test("refuses a letter of which only the beginning is kept", async () => {
    await using database = await letterDatabase([unnamed("a")]);
    await database.sql`
      update dead_letter_events set value_bytes = 2000000, reason = 'too_large', value_sha256 = 'x'`;
    const { code, stdout } = await run(database, ["replay", "--all", "--edit", await edit(ADD_USER)]);
    expect(code).toBe(1);
    expect(stdout).toContain("cut off: only the first of its 2,000,000 bytes are kept; publish it again");
    expect(await statesOf(database)).toEqual(["open"]);
  });

  test("leaves open what PostgreSQL refuses, and stores its neighbors", async () => {
    await using database = await letterDatabase([unnamed("a"), unnamed("b"), unnamed("c")]);
    await refuseContent(database);
    const path = await edit(`
      export default (value: any) => ({ ...value, user_id: "u",
        event_data: value.event_id === "b" ? ${REFUSED_DATA} : {} });`);
    expect((await run(database, ["replay", "--all", "--edit", path])).code).toBe(1);
    const letters = await lettersOf(database);
    expect(letters.map(({ state }) => state)).toEqual(["stored", "open", "stored"]);
    expect(letters[1]!.attempt_error).toStartWith("refused_by_database: ");
    await expectProven(database);
    await expectProofs(database);
  });

  test("counts an event as late in an hour that is closed", async () => {
    await using database = await letterDatabase([eventWithId("a"), unnamed("b")]);
    await database.sql`update hourly_aggregations set closed_at = now()`;
    const [before] = await database.sql`select late_events::int from hourly_aggregations`;
    await run(database, ["replay", "--all", "--edit", await edit(ADD_USER)]);
    const [after] = await database.sql`select total_events::int, late_events::int from hourly_aggregations`;
    expect([before?.["late_events"], after?.["late_events"], after?.["total_events"]]).toEqual([0, 1, 2]);
    await expectProofs(database);
  });

  test("stores no raw rows with SAVE_RAW_EVENTS=false, and counts the events as unsaved", async () => {
    await using database = await letterDatabase([unnamed("a"), unnamed("a"), unnamed("b")]);
    const path = await edit(ADD_USER);
    await run(database, ["replay", "--all", "--edit", path], { SAVE_RAW_EVENTS: "false" });
    expect(await statesOf(database)).toEqual(["stored", "duplicate", "stored"]);
    expect(await database.sql`select 1 from raw_events`).toHaveLength(0);
    await expectProofs(database);
  });

  test("says with --dry-run what it would do, and changes nothing", async () => {
    await using database = await letterDatabase([
      eventWithId("a"),
      unnamed("a"),
      unnamed("b"),
      unnamed("b"),
      "{",
    ]);
    const before = await everything(database);
    const path = await edit(
      `export default (value: any) => typeof value === "string" ? value : { ...value, user_id: "u" };`,
    );
    const { code, stdout } = await run(database, ["replay", "--all", "--edit", path, "--dry-run"]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^nothing is changed; a replay of 4 dead letters .*: 1 stored, 2 duplicates, 1 rejected again\n/,
    );
    expect(await everything(database)).toEqual(before);
  });

  test("is noticed by the check where a replayed letter is not the event that it names", async () => {
    await using database = await letterDatabase([
      unnamed("a"),
      eventText({ event_id: "b", timestamp: LATER }),
    ]);
    await run(database, ["replay", "--all", "--edit", await edit(ADD_USER)], ANY_TIME);
    await expectProofs(database);
    const faults = [
      "update dead_letter_events set mended_value = convert_to('{}', 'UTF8') where \"offset\" = 0",
      'update dead_letter_events set mended_value = null where "offset" = 0',
      "update dead_letter_events set event_id = 'c' where \"offset\" = 1",
    ];
    await database.sql`create table kept as table dead_letter_events`;
    for (const fault of faults) {
      expect((await database.sql.unsafe(fault)).count).toBe(1);
      expect(broken(await check(database))).toEqual(["dead_letters_rejected_again"]);
      await database.sql`delete from dead_letter_events`;
      await database.sql`insert into dead_letter_events select * from kept`;
    }
  });
});
