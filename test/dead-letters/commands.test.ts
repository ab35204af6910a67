// Lists, shows, discards and exports dead letters of a real database with the program.
import { describe, expect, test } from "bun:test";
import { openInput } from "../../shared/producer/input.ts";
import { encodeHeaders } from "../../shared/pipeline/record-headers.ts";
import { eventText, eventWithId } from "../pipeline/record.ts";
import { everything, expectProven, ledgerOf } from "../store/pipeline-database.ts";
import { expectProofs, letterDatabase, lettersOf, run, temporaryFile } from "./letters.ts";

const UNNAMED = eventText({ event_id: "a", user_id: undefined });

describe("list", () => {
  test("counts the letters first, by state, reason and topic, then shows the newest", async () => {
    await using database = await letterDatabase(["{", UNNAMED, "[", undefined], ["{"]);
    await database.sql`update dead_letter_events set first_seen_at = '2026-03-15T00:00:00Z' where "offset" = 2`;
    await run(database, ["discard", "user-events/0/3", "--because", "empty"]);
    const { code, stdout } = await run(database, ["list", "--limit", "2"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^dead letters: 4 open, 0 stored, 0 duplicate, 1 discarded\n/);
    expect(stdout).toMatch(/open +not_json +user-events +3 +2026-03-14 09:26:53 +2026-03-15 00:00:00\n/);
    expect(stdout).toMatch(/discarded +tombstone +user-events +1 /);
    const [, listed = ""] = stdout.split("the newest 2\n");
    expect(listed.match(/user-events\/\S+/g)).toEqual(["user-events/0/2", "user-events/0/1"]);
  });

  test("lists by state, reason, topic and time", async () => {
    await using database = await letterDatabase(["{", UNNAMED, "[", undefined]);
    await database.sql`update dead_letter_events set first_seen_at = now() where "offset" = 2`;
    await run(database, ["discard", "user-events/0/3", "--because", "empty"]);
    const idsOf = async (...args: string[]): Promise<string[]> => {
      const { stdout } = await run(database, ["list", "--json", ...args]);
      return (JSON.parse(stdout) as { letters: { id: string }[] }).letters.map(({ id }) => id.slice(-1));
    };
    expect(await idsOf()).toEqual(["2", "1", "0"]);
    expect(await idsOf("--state", "discarded")).toEqual(["3"]);
    expect(await idsOf("--state", "all")).toEqual(["2", "3", "1", "0"]);
    expect(await idsOf("--reason", "not_json,tombstone")).toEqual(["2", "0"]);
    expect(await idsOf("--since", "1d")).toEqual(["2"]);
    expect(await idsOf("--since", "2026-03-14", "--until", "2026-03-15")).toEqual(["1", "0"]);
    expect(await idsOf("--topic", "elsewhere")).toEqual([]);
  });

  test("shows text from outside without what moves the cursor", async () => {
    await using database = await letterDatabase(["{"]);
    await database.sql`update dead_letter_events set error = ${"\u001b[31mred"}`;
    const { stdout } = await run(database, ["list"]);
    expect(stdout).toContain(String.raw`\u{1b}[31mred`);
    expect(stdout).not.toContain("\u001b");
  });
});

describe("show", () => {
  test("shows where a letter came from, its error, and its bytes as text and as hex", async () => {
    await using database = await letterDatabase(['{"a":\n"é\u001b"']);
    await database.sql`
      update dead_letter_events set key = '\\xff00', headers = ${encodeHeaders([{ name: "h", value: Buffer.from("v") }])}`;
    const { code, stdout } = await run(database, ["show", "user-events/0/0"]);
    expect(code).toBe(0);
    for (const part of [
      "user-events[0] at offset 0, topic id AAAAAAAAQACAAAAAAAAAAA",
      "not_json in stage decode: the value (11 bytes) is not JSON",
      "  key, 2 B\n    000000  ff 00\n",
      '    [["h","dg=="]]\n',
      '    {"a":\n    "é\\u{1b}"\n    000000  7b 22 61 22 3a 0a 22 c3 a9 1b 22\n',
    ]) {
      expect(stdout).toContain(part);
    }
    const json = JSON.parse((await run(database, ["show", "user-events/0/0", "--json"])).stdout) as object;
    expect(json).toMatchObject({
      id: "user-events/0/0",
      value: '{"a":\n"é\u001b"',
      key_base64: "/wA=",
      headers: [["h", "dg=="]],
      state: "open",
      attempts: 0,
    });
  });

  test("asks for more of the id where a topic of this name had another letter there", async () => {
    await using database = await letterDatabase(["{"]);
    await database.sql`
      insert into pipeline_offsets (topic, topic_id, partition, first_offset, next_offset, consumed, dead_lettered)
      values ('user-events', 'B/+', 0, 0, 1, 1, 1)`;
    await database.sql`
      insert into dead_letter_events (topic, topic_id, partition, "offset", value, stage, reason, error, first_seen_at,
        max_future_skew_seconds)
      select topic, 'B/+', partition, "offset", '[', stage, reason, error, first_seen_at, max_future_skew_seconds
      from dead_letter_events`;
    const { code, stderr } = await run(database, ["show", "user-events/0/0"]);
    expect(code).toBe(1);
    expect(stderr).toBe(
      "2 dead letters have the id user-events/0/0; give one of user-events/0/0/0/AAAAAAAAQACAAAAAAAAAAA, user-events/0/0/0/B/+\n",
    );
    const { stdout } = await run(database, ["show", "user-events/0/0/0/B/+", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ topic_id: "B/+", value: "[" });
    await expectProofs(database);
  });
});

describe("discard", () => {
  test("closes letters for a reason, and counts them", async () => {
    await using database = await letterDatabase(["{", UNNAMED], ["[", eventWithId("a")]);
    const { code, stdout } = await run(database, [
      "discard",
      "--reason",
      "not_json",
      "--because",
      "a test of Bob's",
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "discarded 2 dead letters: a test of Bob's\n" });
    expect(await lettersOf(database)).toMatchObject([
      { state: "discarded", discard_reason: "a test of Bob's", is_changed: true },
      { state: "open", discard_reason: null },
      { state: "discarded", discard_reason: "a test of Bob's" },
    ]);
    expect(await ledgerOf(database, 0)).toMatchObject({ dead_lettered: 2 });
    expect(await database.sql`select discarded::int from pipeline_offsets order by partition`).toMatchObject([
      { discarded: 1 },
      { discarded: 1 },
    ]);
    await expectProven(database);
    await expectProofs(database);
    // What is discarded is not replayed, and not discarded again.
    await run(database, ["replay", "--all"]);
    await run(database, ["discard", "--all", "--because", "x"]);
    expect((await lettersOf(database)).map((letter) => [letter.attempts, letter.discard_reason])).toEqual([
      [0, "a test of Bob's"],
      [1, "x"],
      [0, "a test of Bob's"],
    ]);
    await expectProofs(database);
  });

  test("says with --dry-run how many, and changes nothing", async () => {
    await using database = await letterDatabase(["{", UNNAMED]);
    const before = await everything(database);
    const { stdout } = await run(database, ["discard", "--all", "--because", "x", "--dry-run", "--json"]);
    expect(JSON.parse(stdout)).toEqual({ ok: true, dry_run: true, discarded: 2, reason: "x" });
    expect(await everything(database)).toEqual(before);
  });
});

describe("export", () => {
  test("prints the values as lines that the producer takes, and leaves out what is no JSON", async () => {
    const spread = JSON.stringify(JSON.parse(UNNAMED), null, 2).replaceAll("\n", "\r\n");
    await using database = await letterDatabase([
      UNNAMED,
      spread,
      "{",
      undefined,
      '"a\\n"',
      new Uint8Array([0xff]),
    ]);
    const { code, stdout, stderr } = await run(database, ["export"]);
    expect(code).toBe(0);
    const lines = stdout.split("\n");
    expect(lines.map((line) => line && (JSON.parse(line) as unknown))).toEqual([
      JSON.parse(UNNAMED),
      JSON.parse(UNNAMED),
      "a\n",
      "",
    ]);
    expect(stderr).toContain("exported 3 lines; 3 are left out");
    await using file = await temporaryFile("letters.jsonl", stdout);
    const taken = [];
    for await (const chunk of await openInput(file.path)) taken.push(Buffer.from(chunk));
    expect(Buffer.concat(taken).toString()).toBe(stdout);
    const dry = await run(database, ["export", "--dry-run"]);
    expect(dry).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringContaining("would write 3 lines"),
    });
  });

  test("prints all that is known with --json, a line for each letter", async () => {
    await using database = await letterDatabase(["{", undefined, new Uint8Array([0xff])]);
    await run(database, ["discard", "user-events/0/1", "--because", "empty"]);
    const { stdout } = await run(database, ["export", "--json", "--state", "all"]);
    const letters = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(letters).toMatchObject([
      { id: "user-events/0/0", value: "{", state: "open" },
      { id: "user-events/0/1", value: null, state: "discarded", discard_reason: "empty" },
      { id: "user-events/0/2", value_base64: "/w==" },
    ]);
  });

  test("reads many letters, and large ones, page by page", async () => {
    const large = `"${"x".repeat(1_000_000)}`;
    await using database = await letterDatabase(
      Array.from({ length: 1500 }, () => "{"),
      Array.from({ length: 20 }, () => large),
    );
    const { stdout } = await run(database, ["export", "--json"]);
    const ids = stdout
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { id: string }).id);
    expect(ids).toHaveLength(1520);
    expect(new Set(ids).size).toBe(1520);
  });
});
