// Tests that hours changed by hand are found and mended while events flow: `bun run rebuild`.
import { describe, expect } from "bun:test";
import type { RebuildReport } from "../../workers/rebuild/report.ts";
import { type CommandResult, runCommand } from "../support/command.ts";
import { changeHours, hourNames } from "../support/hours-by-hand.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { Program, startProducer } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";

const TIMEOUT_MS = 4 * 60_000;
const RECORDS = 6000;

function rebuild(
  { database }: TestPipeline,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<CommandResult> {
  return runCommand("workers/rebuild.ts", args, { ...database.env, ...env });
}

async function rebuilt(pipeline: TestPipeline, ...args: string[]): Promise<RebuildReport> {
  const { exitCode, stdout, stderr } = await rebuild(pipeline, ["--json", ...args]);
  if (exitCode !== 0) throw new Error(`rebuild ended with ${exitCode}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as RebuildReport;
}

function namesOf({ differing }: RebuildReport): string[] {
  return differing.map(({ hour, event_type }) => `${hour} ${event_type}`);
}

describe("a rebuild", () => {
  kafkaTest(
    "finds and mends exactly the hours that were changed by hand, while events flow, also after it was killed",
    async () => {
      await using pipeline = await TestPipeline.start();
      const { sql } = pipeline.database;
      // Three hours of the past, and the one that is.
      await pipeline.publish(RECORDS);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await using load = startProducer(pipeline, { PRODUCER_RATE: "500" });
      await pipeline.until("events flow", async () => (await pipeline.consumed()) > RECORDS + 1000);
      const names = await hourNames(sql);
      const changed = names.filter((_, index) => index % 2 === 0);
      await changeHours(sql, changed);

      const dry = await rebuilt(pipeline, "--dry-run");
      expect(namesOf(dry)).toEqual(changed);
      expect(new Set(dry.differing.map(({ outcome }) => outcome))).toEqual(new Set(["would be mended"]));

      // Killed in the middle: it waits for a row of the first hour, which has no new events.
      await using program = Program.start("workers/rebuild.ts", { env: pipeline.database.env });
      const [hour = "", type = ""] = changed[2]!.split(" ");
      await sql.begin(async (tx) => {
        await tx`select 1 from hourly_aggregations where aggregation_hour = ${hour}::text::timestamptz and event_type = ${type} for update`;
        await pipeline.until("the rebuild waits for a row", async () => {
          const [row] =
            await sql`select count(*)::int as waiting from pg_stat_activity where wait_event_type = 'Lock'
            and datname = current_database() and application_name like 'event-pipeline main %' and query like '%as h (aggregation_hour%'`;
          return row?.["waiting"] === 1;
        });
        program.signal("SIGKILL");
        await program.exit();
      });
      await pipeline.until("its sessions have ended", async () => {
        const [row] = await sql`select count(*)::int as held from pg_locks where locktype = 'advisory'`;
        return row?.["held"] === 0;
      });

      const report = await rebuilt(pipeline);
      expect(namesOf(report)).toEqual(changed);
      expect(report).toMatchObject({ ok: true, may_lower: true, events_without_raw_row: 0 });
      const { violated } = await pipeline.ledger();
      expect(violated).toEqual([]);
      const before = await pipeline.consumed();
      await pipeline.until("events flow on", async () => (await pipeline.consumed()) > before + 1000);
      load.signal("SIGTERM");
      await load.exit();
      await consumer.drain();
      expect(namesOf(await rebuilt(pipeline))).toEqual([]);
      expect((await pipeline.ledger()).violated).toEqual([]);
    },
    TIMEOUT_MS,
  );

  kafkaTest(
    "says in a line what differed, and is refused without raw rows and with wrong arguments",
    async () => {
      await using pipeline = await TestPipeline.start({ partitions: 1 });
      const consumer = pipeline.consumer();
      await pipeline.publish(300);
      await pipeline.drained();
      await consumer.drain();
      const [name = ""] = await hourNames(pipeline.database.sql);
      await changeHours(pipeline.database.sql, [name]);
      expect(await rebuild(pipeline, ["--hours", "2027-01-01T00.."])).toMatchObject({
        exitCode: 0,
        stdout: expect.stringMatching(
          /^ok: hours and types compared with 0 events in 1 slice, in .*; none differs\n$/,
        ),
      });
      const { exitCode, stdout } = await rebuild(pipeline, ["--hours", "2026-01-01..2027-01-01 00:00"]);
      expect(exitCode).toBe(0);
      expect(stdout).toMatch(
        new RegExp(`^  ${name}: \\d+ events stored, \\d+ recomputed \\(mended\\)\nok: `),
      );
      const refused = async (args: string[], env: Record<string, string> = {}) => {
        const { exitCode: code, stderr } = await rebuild(pipeline, args, env);
        return `${code} ${stderr.split("\n").findLast((line) => line !== "")}`;
      };
      expect(await refused([], { SAVE_RAW_EVENTS: "false" })).toStartWith("2 SAVE_RAW_EVENTS=false: ");
      for (const hours of [
        "2026-01-01",
        "2026-01-01T00:30..",
        "2026-02-30T00..",
        "2026-01-02T00..2026-01-01T00",
        "",
      ]) {
        expect(await refused(["--hours", hours])).toStartWith(`2 --hours ${hours}: must be two whole hours`);
      }
    },
    TIMEOUT_MS,
  );
});
