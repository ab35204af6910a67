// Upgrades the databases of all released versions, with data in them, and reads on where they stopped.
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { ensureTopics } from "../../shared/kafka/admin.ts";
import { readMigrations } from "../../shared/store/migration-files.ts";
import { recordAt } from "../support/known-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { sharedPostgres, type TestDatabase } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { dumpPath, loadDump } from "./dumps.ts";
import { type Figures, readFigures } from "./figures.ts";
import { RELEASES } from "./releases.ts";

const PARTITIONS = 3;
const RECORDS = 500;

describe("the dumps", () => {
  test("are those of every state before the newest file of sql/", async () => {
    const before = (await readMigrations()).slice(0, -1).map(({ version }) => version);
    const missing = before.filter((schema) => RELEASES[schema - 1]?.schema !== schema);
    // Add the commit before the next file to test/upgrade/releases.ts, and run test/upgrade/make-dump.ts.
    expect(missing).toEqual([]);
    expect(RELEASES.filter(({ schema }) => !existsSync(dumpPath(schema)))).toEqual([]);
  });
});

/** A pipeline on a loaded dump, and on a topic that continues the one of the dump. */
async function continued(schema: number): Promise<TestPipeline> {
  const database = await (await sharedPostgres()).database();
  await loadDump(database, schema);
  const kafka = await sharedKafka();
  const topic = await kafka.createTopic({ partitions: PARTITIONS });
  await moveToTopic(database, topic, await topicIdOf(kafka.bootstrapServers, topic));
  const pipeline = await TestPipeline.start({ kafka: { ...kafka, topic }, database });
  // If one of these is read, it is one dead letter too many.
  const ends = await database.sql<{ partition: number; end: number }[]>`
    select "partition", max(next_offset)::int as end from pipeline_offsets group by 1`;
  await pipeline.send(
    ends.flatMap(({ partition, end }) =>
      Array.from({ length: end }, () => ({ value: Buffer.from("stored before"), partition })),
    ),
  );
  return pipeline;
}

async function topicIdOf(bootstrapServers: string, topic: string): Promise<string> {
  const [found] = await ensureTopics({
    settings: { "bootstrap.servers": bootstrapServers },
    topics: [topic],
    partitions: PARTITIONS,
    replicationFactor: 1,
    deadlineMs: 30_000,
  });
  if (found?.topicId === undefined) throw new Error(`${topic} has no id`);
  return found.topicId;
}

async function moveToTopic({ sql }: TestDatabase, topic: string, id: string): Promise<void> {
  for (const table of ["pipeline_offsets", "dead_letter_events"]) {
    await sql`update ${sql(table)} set topic = ${topic}, topic_id = ${id}`;
  }
}

const sumOf = (rows: readonly Record<string, unknown>[], column: string) =>
  rows.reduce((sum, row) => sum + Number(row[column]), 0);

/** A dump without these would prove little. */
function expectAll({ raw_events, hours, offsets, dead_letters }: Figures): void {
  expect(raw_events.length).toBeGreaterThan(200);
  expect(new Set(hours.map(({ closed_at }) => closed_at !== null))).toEqual(new Set([true, false]));
  expect(sumOf(offsets, "duplicates")).toBeGreaterThan(0);
  expect(sumOf(offsets, "lost")).toBeGreaterThan(0);
  expect(new Set(dead_letters.map(({ reason }) => reason)).size).toBeGreaterThan(5);
}

/** What becomes of the first known records in tables that hold some of their events. */
function expectedOf(records: number, stored: ReadonlySet<unknown>) {
  const expected = { records, events: 0, repeats: 0, broken: 0 };
  const seen = new Set(stored);
  for (let index = 0; index < records; index++) {
    const { value, kind } = recordAt(index);
    const id = kind === "broken" ? undefined : (JSON.parse(value) as { event_id: string }).event_id;
    if (id === undefined) expected.broken++;
    else if (seen.has(id)) expected.repeats++;
    else expected.events++;
    seen.add(id);
  }
  return expected;
}

describe("an upgrade", () => {
  for (const { schema } of RELEASES) {
    kafkaTest(`from the tables of schema ${schema} keeps what they hold, and reads on`, async () => {
      await using pipeline = await continued(schema);
      const { database } = pipeline;
      const before = await readFigures(database);
      expectAll(before);

      const consumer = pipeline.consumer();
      await pipeline.settled(PARTITIONS);
      const applied = await database.sql`select name from pipeline_migrations order by version`;
      expect(applied.map(({ name }) => String(name))).toEqual(
        (await readMigrations()).map(({ name }) => name),
      );
      expect(await readFigures(database)).toEqual(before);

      await pipeline.publish(RECORDS);
      await pipeline.until("the new records are stored", async () => {
        return (await pipeline.consumed()) >= sumOf(before.offsets, "consumed") + RECORDS;
      });
      await consumer.drain();
      const expected = expectedOf(RECORDS, new Set(before.raw_events.map(({ event_id }) => event_id)));
      expect(expected.repeats).toBeGreaterThan(100);
      expect(expected.events).toBeGreaterThan(100);
      expect(await pipeline.ledger()).toEqual({
        exitCode: 0,
        violated: [],
        accounted: {
          records: sumOf(before.offsets, "consumed") + expected.records,
          events: sumOf(before.offsets, "stored") + expected.events,
          repeats: sumOf(before.offsets, "duplicates") + expected.repeats,
          broken: sumOf(before.offsets, "dead_lettered") + expected.broken,
        },
      });
    });
  }

  kafkaTest("waits while a report uses the tables, and says which session that is", async () => {
    await using database = await (await sharedPostgres()).database();
    await loadDump(database, 4);
    const kafka = await sharedKafka();
    const env = {
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
      KAFKA_TOPIC: await kafka.createTopic(),
      METRICS_PORT_CONSUMER: "0",
    };
    await using consumer = await database.sql.begin(async (report) => {
      const [row] = await report`select pg_backend_pid() as pid, count(*) from pipeline_offsets`;
      const program = Program.start("workers/consumer.ts", { env: { ...database.env, ...env } });
      const inTheWay = `the tables cannot be changed while session ${row?.["pid"]} uses them .*waiting for PostgreSQL`;
      await program.printed(new RegExp(inTheWay));
      return program;
    });
    await consumer.printed(/brought the tables up to date/);
  });
});
