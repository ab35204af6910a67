// Tests that a topic is read again while consumers run, with nothing stored twice: `bun run rewind`.
import { describe, expect } from "bun:test";
import type { RewindReport } from "../../workers/rewind/report.ts";
import { runCommand } from "../support/command.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { Program } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";

const TIMEOUT_MS = 4 * 60_000;
const RECORDS = 6000;

function envOf({ database, bootstrapServers, topic }: TestPipeline): Record<string, string> {
  return {
    ...database.env,
    KAFKA_BOOTSTRAP_SERVERS: bootstrapServers,
    KAFKA_TOPIC: topic,
    KAFKA_CONSUMER_GROUP: topic,
  };
}

function rewind(pipeline: TestPipeline, ...args: string[]) {
  return runCommand("workers/rewind.ts", ["--topic", pipeline.topic, ...args], envOf(pipeline));
}

async function rewound(pipeline: TestPipeline, ...args: string[]): Promise<RewindReport> {
  const { exitCode, stdout, stderr } = await rewind(pipeline, "--json", ...args);
  if (exitCode !== 0) throw new Error(`rewind ended with ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as RewindReport;
}

/** Everything but the accounts of the partitions and the dead letters, which a new reading has again. */
async function events({ database: { sql } }: TestPipeline): Promise<unknown> {
  const [raw] =
    await sql`select count(*)::int as rows, md5(string_agg(r::text, '' order by event_id)) as all from raw_events r`;
  return { raw, hours: [...(await sql`select * from hourly_aggregations order by 1, 2`)] };
}

async function readings({ database: { sql } }: TestPipeline): Promise<number> {
  const [row] = await sql`select count(*)::int as readings from pipeline_offsets`;
  return Number(row?.["readings"]);
}

describe("a rewind", () => {
  kafkaTest(
    "reads a topic again under running consumers, stores nothing twice, and happens wholly or not at all",
    async () => {
      await using pipeline = await TestPipeline.start();
      const { sql } = pipeline.database;
      await pipeline.publish(RECORDS);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      const before = await events(pipeline);
      const first = await pipeline.ledger();

      const dry = await rewind(pipeline, "--to", "0", "--dry-run");
      expect(dry).toMatchObject({
        exitCode: 0,
        stdout: expect.stringContaining("would be read again from 0"),
      });
      expect(await readings(pipeline)).toBe(6);

      // Killed while it waits for the last of its rows.
      await using program = Program.start("workers/rewind.ts", {
        args: ["--topic", pipeline.topic, "--to", "0"],
        env: envOf(pipeline),
      });
      await sql.begin(async (tx) => {
        await tx`select 1 from pipeline_offsets where partition = 5 for update`;
        await pipeline.until("the rewind waits for a row", async () => {
          const [row] =
            await sql`select count(*)::int as waiting from pg_stat_activity where wait_event_type = 'Lock'
            and datname = current_database() and application_name like 'event-pipeline main %' and query like '%for update of o%'`;
          return row?.["waiting"] === 1;
        });
        program.signal("SIGKILL");
        await program.exit();
      });
      expect(await readings(pipeline)).toBe(6);

      // The consumer is idle: nothing but the rewind makes it look.
      const report = await rewound(pipeline, "--to", "0");
      expect(report).toMatchObject({
        dry_run: false,
        workers: 2,
        read_again: { offsets: RECORDS, stored: 0, is_whole: true },
      });
      expect(report.partitions.map(({ to, reading }) => ({ to, reading }))).toEqual(
        Array.from({ length: 6 }, () => ({ to: 0, reading: 1 })),
      );
      expect(await events(pipeline)).toEqual(before);
      const { exitCode, violated, accounted } = await pipeline.ledger();
      expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
      expect(accounted).toEqual({
        records: 2 * RECORDS,
        events: first.accounted.events,
        repeats: RECORDS - first.accounted.broken + first.accounted.repeats,
        broken: 2 * first.accounted.broken,
      });
      await pipeline.publish(200);
      await pipeline.until(
        "what comes is stored",
        async () => (await pipeline.consumed()) === 2 * RECORDS + 200,
      );
      await consumer.drain();
      expect((await pipeline.ledger()).violated).toEqual([]);
    },
    TIMEOUT_MS,
  );

  kafkaTest(
    "stores what an earlier rule had rejected, from the time of its records on",
    async () => {
      await using pipeline = await TestPipeline.start({ partitions: 2 });
      const strict = pipeline.consumer({ MAX_FUTURE_SKEW_SECONDS: "0" });
      await pipeline.publish(300);
      const since = Date.now() + 1;
      await pipeline.until("time passes", async () => Date.now() > since);
      const event = (id: string, ms: number) =>
        JSON.stringify({
          event_id: id,
          user_id: "u",
          event_type: "login",
          timestamp: new Date(ms).toISOString(),
          event_data: {},
        });
      await pipeline.publishValue(event("now", since));
      await pipeline.publishValue(event("early", since + 3_600_000));
      await pipeline.until("all is judged", async () => (await pipeline.consumed()) === 302);
      await strict.drain();
      const early = () => pipeline.database.sql`select 1 from raw_events where event_id = 'early'`;
      expect((await early()).length).toBe(0);

      // No consumer runs: the next one finds the reading.
      const report = await rewound(pipeline, "--to", new Date(since).toISOString());
      expect(report).toMatchObject({ workers: 0, read_again: null });
      expect(report.partitions.reduce((sum, { from, to }) => sum + from - to, 0)).toBe(2);
      const lenient = pipeline.consumer();
      await pipeline.until("it is stored", async () => (await early()).length === 1);
      await pipeline.until("all is read", async () => (await pipeline.consumed()) === 304);
      expect(await rewind(pipeline, "--to", "2099-01-01T00:00Z")).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining(`no partition of ${pipeline.topic} is stored beyond it`),
      });
      await lenient.drain();
      const { exitCode, violated } = await pipeline.ledger();
      expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
    },
    TIMEOUT_MS,
  );

  kafkaTest(
    "is refused where events would count twice, and where its arguments are wrong",
    async () => {
      await using pipeline = await TestPipeline.start({ partitions: 1, env: { SAVE_RAW_EVENTS: "false" } });
      const consumer = pipeline.consumer();
      await pipeline.publish(100);
      await pipeline.drained();
      await consumer.drain();
      const refused = async (args: string[], env: Record<string, string> = {}) => {
        const { exitCode, stderr } = await runCommand("workers/rewind.ts", args, {
          ...envOf(pipeline),
          ...env,
        });
        return `${exitCode} ${stderr.split("\n").findLast((line) => line !== "")}`;
      };
      const to = ["--topic", pipeline.topic, "--to", "0"];
      expect(await refused(to)).toMatch(
        /^1 \d+ of \d+ stored events have no row in raw_events .* would count twice/,
      );
      expect(await refused(to, { SAVE_RAW_EVENTS: "false" })).toStartWith("2 SAVE_RAW_EVENTS=false: ");
      expect(await refused(["--topic", "nowhere", "--to", "0"])).toBe("1 Kafka has no topic nowhere");
      expect(await refused([...to, "--partition", "9"])).toBe(`1 ${pipeline.topic} has no partition 9`);
      expect(await refused(["--topic", "t", "--to", "noon"])).toStartWith(
        "2 --to noon: must be an offset, or a time",
      );
      expect(await refused(["--topic", "t"])).toStartWith("2 --to is missing");
      expect(await readings(pipeline)).toBe(1);
    },
    TIMEOUT_MS,
  );
});
