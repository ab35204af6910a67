// Makes the dump of a release with the programs of that release: `bun test/upgrade/make-dump.ts SCHEMA`.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres, type TestDatabase } from "../support/postgres.ts";
import { Program } from "../support/process.ts";
import { checkedOut } from "./checkout.ts";
import { dumpPath } from "./dumps.ts";
import { RELEASES } from "./releases.ts";

const USAGE = `Usage: TEST_POSTGRES=15 bun test/upgrade/make-dump.ts SCHEMA

Runs the consumer of a release on a broker and a database, with events, duplicates, dead letters, deleted records and
closed hours, and writes what is then in the database to test/upgrade/dumps/. SCHEMA is the number of the newest file of
sql/ that the release knows; test/upgrade/releases.ts has the commit. Needs Kafka and pg_dump, and a PostgreSQL that is
not newer than pg_dump: TEST_POSTGRES chooses it.
`;

const TOPIC = "user-events";
const PARTITIONS = 3;
/** Kafka deletes what partition 0 got of the second part, before it is read. */
const PARTS = [220, 40, 60] as const;

const release = RELEASES.find(({ schema }) => schema === Number(process.argv[2]));
if (release === undefined) {
  process.stderr.write(USAGE);
  process.exit(2);
}
await using checkout = await checkedOut(release.commit);
const { root } = checkout;
await using kafka = await KafkaCluster.start();
await using postgres = await startPostgres();
await kafka.createTopic(TOPIC, { partitions: PARTITIONS });
const database = await postgres.database();
{
  await using pipeline = await TestPipeline.start({
    kafka: { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
    database,
    root,
  });
  const unreadable = hostileRecords();
  await pipeline.publish(PARTS[0]);
  await pipeline.send(unreadable);
  await readAll(pipeline, PARTS[0] + unreadable.length);
  await pipeline.publish(PARTS[1]);
  await kafka.deleteRecords(TOPIC, 0, -1);
  await pipeline.publish(PARTS[2]);
  const events = newEvents();
  await pipeline.send(events);
  await readAll(pipeline, pipeline.published.records + unreadable.length + events.length);
  await settleLetters(root, pipeline);
  await writeDump(pipeline.database, dumpPath(release.schema));
}

/** Runs a consumer until the stored offsets reach the end of the log, and drains it: then it closes hours, too. */
async function readAll(pipeline: TestPipeline, records: number): Promise<void> {
  await using consumer = pipeline.consumer({ CONSUMER_BATCH_SIZE: "50" });
  await pipeline.until("all is stored", async () => {
    const [exists] = await database.sql`select to_regclass('pipeline_offsets') is not null as yes`;
    if (!exists?.["yes"]) return false;
    const [row] = await database.sql`select sum(next_offset)::int as offsets from pipeline_offsets`;
    return row?.["offsets"] === records;
  });
  await consumer.drain();
}

function hostileRecords() {
  const base = {
    event_id: "hostile",
    user_id: "user_1",
    event_type: "click",
    timestamp: "2026-01-01T00:00:00Z",
    event_data: {},
  };
  const values = [
    "",
    "\uFEFFnot json",
    JSON.stringify({ ...base, user_id: undefined }),
    JSON.stringify({ ...base, event_id: 7 }),
    JSON.stringify({ ...base, timestamp: "yesterday" }),
    JSON.stringify({ ...base, timestamp: "2100-01-01T00:00:00Z" }),
    JSON.stringify({ ...base, event_data: { text: "\u0000" } }),
    JSON.stringify({ ...base, event_id: "mendable", user_id: undefined, uid: "user_2" }),
  ];
  const key = Buffer.from("a key");
  return [
    { key, value: undefined, headers: [{ name: "trace", value: Buffer.from("1") }] },
    { key, value: Buffer.from([0x7b, 0xff, 0x7d]) },
    ...values.map((value) => ({ key, value: Buffer.from(value) })),
  ];
}

/** Their hour is open, and closes after the upgrade. */
function newEvents() {
  return Array.from({ length: 10 }, (_, index) => ({
    key: Buffer.from(`user_${index}`),
    value: Buffer.from(
      JSON.stringify({
        event_id: `new_${index}`,
        user_id: `user_${index % 4}`,
        event_type: "login",
        timestamp: new Date().toISOString(),
        event_data: {},
        duration_seconds: 1.5,
      }),
    ),
  }));
}

/** Replays one dead letter, and discards others, where the release can. */
async function settleLetters(folder: string, { bootstrapServers }: TestPipeline): Promise<void> {
  if (!existsSync(join(folder, "workers/dead-letters.ts"))) return;
  const edit = join(folder, "mend.ts");
  await Bun.write(edit, "export default ({ uid, ...event }) => uid && { ...event, user_id: uid };");
  for (const args of [
    ["replay", "--reason", "missing_field", "--edit", edit],
    ["discard", "--reason", "tombstone", "--because", "the key was deleted"],
  ]) {
    const env = { ...database.env, KAFKA_BOOTSTRAP_SERVERS: bootstrapServers, KAFKA_TOPIC: TOPIC };
    await using command = Program.start(join(folder, "workers/dead-letters.ts"), { args, env });
    const code = await command.exit();
    if (code !== 0) throw new Error(`dead-letters ${args.join(" ")} ended with ${code}: ${command.output}`);
  }
}

async function writeDump({ name, address }: TestDatabase, path: string): Promise<void> {
  const dumping = Bun.spawnSync(
    ["pg_dump", "--no-owner", "--no-privileges", "--inserts", "--rows-per-insert=1000", name],
    {
      env: {
        ...process.env,
        PGHOST: address.host,
        PGPORT: String(address.port),
        PGUSER: address.user,
        PGPASSWORD: address.password,
      },
    },
  );
  if (dumping.exitCode !== 0) throw new Error(`pg_dump: ${dumping.stderr.toString().trim()}`);
  // Without what only psql understands, and the settings of a session.
  const text = dumping.stdout
    .toString()
    .replaceAll(/^(?:--.*|\\.*|SET .*;|SELECT pg_catalog\.set_config.*)?\n/gm, "");
  await Bun.write(path, text);
  process.stdout.write(`${path}: ${text.length} bytes\n`);
}
