// Looks at which dead letters a replay judges: those that were selected, in transactions of bounded size.
import { expect, test } from "bun:test";
import { eventText } from "../pipeline/record.ts";
import {
  expectProofs,
  letterDatabase,
  lettersOf,
  mendFile,
  run,
  statesOf,
  temporaryFile,
} from "./letters.ts";

const unnamed = (event_id: string): string => eventText({ event_id, user_id: undefined });

test("a replay takes the letters of an id, a reason, a topic and a time, and no others", async () => {
  await using database = await letterDatabase([unnamed("a"), "{", unnamed("b"), unnamed("c")]);
  await database.sql`update dead_letter_events set first_seen_at = now() where "offset" = 3`;
  await using mend = await mendFile();
  const attempts = async () => (await lettersOf(database)).map((letter) => letter.attempts);
  const replay = (...args: string[]) => run(database, ["replay", ...args, "--edit", mend.path]);
  await replay("user-events[0]@2");
  expect(await attempts()).toEqual([0, 0, 1, 0]);
  await replay("--reason", "not_json", "--until", "1h");
  expect(await attempts()).toEqual([0, 1, 1, 0]);
  await replay("--topic", "elsewhere");
  expect(await attempts()).toEqual([0, 1, 1, 0]);
  await replay("--reason", "missing_field", "--since", "30m");
  expect(await attempts()).toEqual([0, 1, 1, 1]);
  await replay("--topic", "user-events");
  expect(await attempts()).toEqual([1, 2, 1, 1]);
  // A letter that is settled is not replayed again, nor one that does not exist.
  await replay("user-events/0/2");
  expect(await attempts()).toEqual([1, 2, 1, 1]);
  expect(await replay("user-events/0/77")).toMatchObject({
    code: 1,
    stderr: "there is no dead letter user-events/0/77\n",
  });
});

test("a replay judges all letters, also where their mended values are too many for one batch", async () => {
  const ids = Array.from({ length: 30 }, (_, index) => `a${index}`);
  await using database = await letterDatabase(ids.map(unnamed));
  await using mend = await temporaryFile(
    "mend.ts",
    `export default (value: object) => ({ ...value, user_id: "u", event_data: { text: "x".repeat(900_000) } });`,
  );
  const { code, stdout } = await run(database, ["replay", "--all", "--edit", mend.path]);
  expect(code).toBe(0);
  expect(stdout).toStartWith("replayed 30 dead letters");
  expect(new Set(await statesOf(database))).toEqual(new Set(["stored"]));
  await expectProofs(database);
});
