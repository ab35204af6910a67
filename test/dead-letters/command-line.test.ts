// Gives the program wrong command lines, files and databases.
import { describe, expect, test } from "bun:test";
import { pipelineDatabase } from "../store/pipeline-database.ts";
import { sharedPostgres } from "../support/postgres.ts";
import { run, temporaryFile } from "./letters.ts";

describe("the command line", () => {
  const nowhere = { env: { DB_HOST: "127.0.0.1", DB_PORT: "1" } };

  test("reports every problem, and exits with 2", async () => {
    const cases: [string[], string[]][] = [
      [[], ["a command is missing: list, show, replay, discard, export (see --help)"]],
      [["lsit"], ["there is no command lsit: list, show, replay, discard, export (see --help)"]],
      [["show"], ["show takes one id, as list prints it"]],
      [["show", "12"], ["12 is no id of a dead letter: TOPIC/PARTITION/OFFSET is one"]],
      [["list", "--rate", "5"], ["list takes no --rate (see --help)"]],
      [["replay"], ["replay needs ids, a selection (--reason, --topic, --since, --until), or --all"]],
      [["replay", "a/0/1", "--all"], ["give ids or a selection, not both"]],
      [["discard", "--all"], ["discard needs --because TEXT, the reason"]],
      [
        ["replay", "--reason", "ugly", "--since", "soon", "--rate", "0"],
        [
          "--reason ugly: must be one of ",
          "--since soon: must be a time",
          "--rate 0: must be a number above 0",
        ],
      ],
    ];
    for (const [args, problems] of cases) {
      const { code, stdout, stderr } = await run(nowhere, args);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr.trimEnd().split("\n")).toEqual(
        problems.map((problem) => expect.stringContaining(problem) as string),
      );
    }
  });

  test("says what is wrong with the file of --edit, and exits with 2", async () => {
    await using broken = await temporaryFile("mend.ts", "export default {");
    await using empty = await temporaryFile("mend.ts", "export const mend = 1;");
    const replay = (path: string) => run(nowhere, ["replay", "--all", "--edit", path]);
    expect(await replay("/nowhere.ts")).toEqual({
      code: 2,
      stdout: "",
      stderr: "--edit /nowhere.ts: there is no such file\n",
    });
    expect(await replay(broken.path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("cannot be loaded"),
    });
    expect(await replay(empty.path)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("has no function as its default export"),
    });
  });

  test("says in one sentence that PostgreSQL is away, or its tables are of an older version", async () => {
    expect(await run(nowhere, ["list"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^PostgreSQL at 127\.0\.0\.1:1 cannot be read: .*\n$/),
    });
    await using database = await pipelineDatabase();
    await database.sql`alter table dead_letter_events drop column state`;
    expect(await run(database, ["list"])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^the tables are not as this version expects them: .*state.*consumer of this version/,
      ),
    });
    await using empty = await (await sharedPostgres()).database();
    expect((await run(empty, ["list"])).code).toBe(1);
  });
});
