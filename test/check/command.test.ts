// Runs `bun run check` and reads its output and exit code.
import { describe, expect, test } from "bun:test";
import type { CheckReport } from "../../shared/store/check/report.ts";
import { sharedPostgres } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { healthyDatabase } from "./checked-database.ts";

/** Nothing listens on port 1; a port of a test server could be given to another test. */
const CLOSED_PORT = "1";
const NO_KAFKA = { KAFKA_BOOTSTRAP_SERVERS: `127.0.0.1:${CLOSED_PORT}` };

async function run(env: Record<string, string>, ...args: string[]) {
  await using program = Program.start("workers/check.ts", { args, env });
  const exitCode = await program.exit();
  return { exitCode, stdout: program.stdout, stderr: program.stderr };
}

function linesOf(text: string): string[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("this librdkafka was built without"));
}

describe("bun run check", () => {
  test("reports all proofs and exits with 0 where they hold, even while Kafka is away", async () => {
    await using database = await healthyDatabase();
    const { exitCode, stdout, stderr } = await run({ ...database.env, ...NO_KAFKA });
    expect({ exitCode, stderr: linesOf(stderr) }).toEqual({ exitCode: 0, stderr: [] });
    expect(stdout).toMatch(/raw_events +18\n/);
    expect(stdout).toContain("Kafka does not answer");
    expect(stdout).toEndWith("ok: all 17 proofs hold\n");
  });

  test("shows the figures of a proof that does not hold, and exits with 1", async () => {
    await using database = await healthyDatabase();
    await database.sql`delete from raw_events where event_id = 'e3'`;
    const { exitCode, stdout } = await run({ ...database.env, ...NO_KAFKA });
    expect(exitCode).toBe(1);
    expect(stdout).toContain("FALSE  stored_events_kept           18 events stored, 17 rows");
    expect(stdout).toEndWith("FALSE: 2 of 17 proofs do not hold\n");
  });

  test("prints one object and nothing else with --json", async () => {
    await using database = await healthyDatabase();
    const healthy = await run({ ...database.env, ...NO_KAFKA }, "--json");
    expect(healthy.exitCode).toBe(0);
    const report = JSON.parse(healthy.stdout) as CheckReport;
    expect(Object.keys(report)).toEqual([
      "ok",
      "invariants",
      "trusted_hours",
      "tables",
      "partitions",
      "unread_partitions",
      "dead_letters",
      "dead_letter_states",
      "hours",
      "newest_events",
    ]);
    expect(report.ok).toBe(true);
    for (const invariant of report.invariants) {
      expect(invariant).toEqual({
        name: expect.stringMatching(/^[a-z_]+$/),
        ok: true,
        detail: expect.any(String),
      });
    }
    expect(report.partitions.length).toBe(3);
    expect(report.partitions[0]).toMatchObject({
      partition: 0,
      lag: null,
      lag_problem: "Kafka does not answer",
    });
    expect(report.dead_letters["not_json"]).toBe(2);

    await database.sql`delete from hourly_users where user_id = 'bea'`;
    const broken = await run({ ...database.env, ...NO_KAFKA }, "--json");
    expect(broken.exitCode).toBe(1);
    const { ok, invariants } = JSON.parse(broken.stdout) as CheckReport;
    expect(ok).toBe(false);
    expect(invariants.filter((invariant) => !invariant.ok).map(({ name }) => name)).toEqual([
      "hourly_users_recomputed",
      "unique_users_counted",
    ]);
  });

  test("proves the hours from --since on, and says which ones it takes on trust", async () => {
    await using database = await healthyDatabase();
    const { exitCode, stdout } = await run({ ...database.env, ...NO_KAFKA }, "--since", "2026-03-14T09");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(
      /\nhours before 2026-03-14T09:00:00.000Z: \d hours and types with \d+ events; 0 equal their seals, \d are taken on trust\n/,
    );
    expect(stdout).toMatch(
      /18 events stored, \d+ rows of raw_events \+ 0 without one \+ \d+ of earlier hours, taken on trust\n/,
    );
    const ofDate = await run({ ...database.env, ...NO_KAFKA }, "--since", "2026-03-14");
    expect(ofDate.stdout).toContain("\nhours before 2026-03-14T00:00:00.000Z: ");
    for (const hour of ["2026-03-14T", "2026-03-14T09:30", "2026-02-30", "yesterday"]) {
      const refused = await run({ ...database.env, ...NO_KAFKA }, "--since", hour);
      expect({ code: refused.exitCode, text: refused.stderr }).toMatchObject({
        code: 2,
        text: expect.stringContaining(`--since ${hour}: must be a whole hour in UTC, such as 2026-11-22T21`),
      });
    }
  });

  test("changes nothing in the database", async () => {
    await using database = await healthyDatabase();
    await database.sql.unsafe(`alter database "${database.name}" set default_transaction_read_only = on`);
    expect((await run({ ...database.env, ...NO_KAFKA })).exitCode).toBe(0);
  });

  test("prints its usage for --help, and for anything that is not an option exits with 2", async () => {
    const help = await run({}, "--help");
    expect({ exitCode: help.exitCode, stderr: help.stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(help.stdout).toStartWith("Usage: bun run check [--json]");
    for (const argument of ["--jsno", "all", "--json=yes"]) {
      const { exitCode, stdout, stderr } = await run({}, argument);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
      expect(stderr).toContain("Usage: bun run check");
    }
  });

  test("reports every problem of a wrong configuration and exits with 2", async () => {
    const { exitCode, stdout, stderr } = await run({ DB_PORT: "many", DB_SSLMODE: "maybe" });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(linesOf(stderr).map((line) => line.split("=")[0])).toEqual(["DB_PORT", "DB_SSLMODE"]);
  });

  test("explains in one sentence why the database cannot be read, and exits with 1", async () => {
    const server = await sharedPostgres();
    await using empty = await server.database();
    const env = { ...empty.env, ...NO_KAFKA };
    const cases: [Record<string, string>, RegExp][] = [
      [
        { DB_PASSWORD: "wrong" },
        /^PostgreSQL at .* refuses user "postgres" .*authentication failed .*; check DB_USER, DB_PASSWORD/,
      ],
      [{ DB_NAME: "nowhere" }, /^PostgreSQL at .* refuses .* database "nowhere".*does not exist/],
      [
        { DB_PORT: CLOSED_PORT },
        /^PostgreSQL at 127\.0\.0\.1:\d+ cannot be read: .*ECONNREFUSED.*check DB_HOST/,
      ],
      [{}, /^database ".*" has no tables of the pipeline; the consumer creates them/],
    ];
    for (const [changes, sentence] of cases) {
      const { exitCode, stdout, stderr } = await run({ ...env, ...changes }, "--json");
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
      const lines = linesOf(stderr);
      expect(lines).toEqual([expect.stringMatching(sentence)]);
      expect(stderr).not.toContain("wrong\n");
    }
  });

  test("explains in one sentence which tables are missing or different, and exits with 1", async () => {
    await using database = await healthyDatabase();
    const env = { ...database.env, ...NO_KAFKA };
    await database.sql`alter table hourly_users rename column user_id to someone`;
    const renamed = await run(env);
    expect(renamed.exitCode).toBe(1);
    expect(linesOf(renamed.stderr)).toEqual([
      expect.stringMatching(
        /^the tables cannot be read as this version expects them: column "user_id" .*\(42703\)$/,
      ),
    ]);
    await database.sql`drop table hourly_users`;
    const dropped = await run(env);
    expect(dropped.exitCode).toBe(1);
    expect(linesOf(dropped.stderr)).toEqual([
      expect.stringMatching(
        /^database ".*" lacks the tables hourly_users; restore the tables or the database$/,
      ),
    ]);
  });
});
