// Measures how fast Debezium's JDBC sink stores a topic, and the CPU time and memory it takes.
import { eventually } from "../test/support/eventually.ts";
import type { TestDatabase } from "../test/support/postgres.ts";
import { type Bench, type BenchRecord, PARTITIONS, WORKERS } from "./bench.ts";
import { type connectArtifacts, ConnectWorker } from "./connect.ts";
import { cpuMicros, peakResidentMiB, treeCpuMicros } from "./processes.ts";
import type { ConsumerRound } from "./shapes.ts";

export interface PeerRoundOptions {
  readonly artifacts: Awaited<ReturnType<typeof connectArtifacts>>;
  /** Stores an event_id once (upsert by primary key); otherwise it inserts all into a table without a key. */
  readonly withKey: boolean;
  readonly events: number;
  readonly records: () => Iterable<BenchRecord>;
}

const TABLE = "peer_events";
const BATCH = "5000";
const APPLICATION = "peer";
const SETTLE_DEADLINE_MS = 120_000;
const DRAIN_DEADLINE_MS = 20 * 60_000;
const POLL_MS = 20;
/** After so long without a statement, all may be stored. */
const QUIET_MS = 1000;

/** JsonConverter reads plain JSON by this schema. It has no type for an object of any shape, so event_data is text. */
const SCHEMA = {
  type: "struct",
  optional: false,
  fields: [
    ...["event_id", "user_id", "event_type", "event_data", "timestamp"].map((field) => ({
      field,
      type: "string",
      optional: false,
    })),
    { field: "duration_seconds", type: "double", optional: true },
  ],
};

/** Events as the JsonConverter can read them: event_data is JSON as text. */
export function* withTextData(records: Iterable<BenchRecord>): Generator<BenchRecord> {
  for (const { key, value } of records) {
    const event = JSON.parse(value) as { event_data: unknown };
    yield { key, value: JSON.stringify({ ...event, event_data: JSON.stringify(event.event_data) }) };
  }
}

/**
 * Stores a full topic once. As with the consumer, the measured time starts when every task has its share of the
 * partitions and waits with its first rows for a lock on the table, and ends with the last commit: then the sessions of
 * the sink have been idle for a while and all rows are there.
 *
 * @throws Error when a task fails, or when other rows are stored than were published
 */
export async function peerRound(bench: Bench, options: PeerRoundOptions): Promise<ConsumerRound> {
  const { artifacts, withKey, events, records } = options;
  const topic = await bench.topic();
  await using database = await bench.database();
  const { sql } = database;
  await sql.unsafe(
    `create table ${TABLE} (event_id text collate "C" ${withKey ? "primary key" : "not null"},
      user_id text collate "C" not null, event_type text collate "C" not null, event_data text not null,
      "timestamp" text not null, duration_seconds double precision)`,
  );
  await using worker = await ConnectWorker.start(bench, artifacts);
  await worker.create(topic, sinkConfig(topic, database, withKey));
  await eventually("every task has its partitions", () => isSettled(bench, worker, topic), {
    timeoutMs: SETTLE_DEADLINE_MS,
    everyMs: 500,
  });
  const gate = await sql.reserve();
  await gate`begin`;
  await gate.unsafe(`lock table ${TABLE} in access exclusive mode`);
  await bench.fill(topic, records());
  await eventually("every task waits with its first rows", () => areWaiting(database), {
    timeoutMs: SETTLE_DEADLINE_MS,
  });
  const cpu = () =>
    Promise.all([cpuMicros(worker.pid), treeCpuMicros(bench.postgres.pid!), cpuMicros(bench.kafka.pids[0]!)]);
  const before = await cpu();
  const startedAtMs = Date.now();
  await gate`commit`;
  gate.release();
  const { endedAtMs, used } = await eventually(
    `all ${events} rows are stored`,
    async () => {
      await worker.assertRunning(topic);
      const quietSinceMs = await lastStatementMs(database);
      if (quietSinceMs === undefined || Date.now() - quietSinceMs < QUIET_MS) return undefined;
      const after = await cpu();
      const [row] = await sql.unsafe(`select count(*)::int as rows from ${TABLE}`);
      return row?.["rows"] === events ? { endedAtMs: quietSinceMs, used: after } : undefined;
    },
    { timeoutMs: DRAIN_DEADLINE_MS, everyMs: POLL_MS },
  );
  const rssMiB = await peakResidentMiB(worker.pid);
  await bench.kafka.deleteTopic(topic);
  const [client = 0, postgres = 0, broker = 0] = used.map(
    (micros, index) => (micros - before[index]!) / events,
  );
  return {
    eventsPerSecond: events / ((endedAtMs - startedAtMs) / 1000),
    clientCpuMicrosPerEvent: client,
    postgresCpuMicrosPerEvent: postgres,
    brokerCpuMicrosPerEvent: broker,
    rssMiB,
  };
}

function sinkConfig(
  topic: string,
  { address, name }: TestDatabase,
  withKey: boolean,
): Record<string, string> {
  // synchronous_commit as in the consumer's sessions.
  const parameters = `ApplicationName=${APPLICATION}&options=-c%20synchronous_commit=off`;
  return {
    "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
    "tasks.max": String(WORKERS),
    topics: topic,
    "connection.url": `jdbc:postgresql://${address.host}:${address.port}/${name}?${parameters}`,
    "connection.username": address.user,
    "connection.password": address.password,
    "collection.name.format": TABLE,
    "schema.evolution": "none",
    ...(withKey
      ? { "insert.mode": "upsert", "primary.key.mode": "record_value", "primary.key.fields": "event_id" }
      : { "insert.mode": "insert", "primary.key.mode": "none" }),
    "batch.size": BATCH,
    "consumer.override.max.poll.records": BATCH,
    "consumer.override.auto.offset.reset": "earliest",
    // One statement for each batch, with an array for each column: the fastest way that it has.
    "dialect.postgres.unnest.insert.enabled": "true",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "true",
    "value.converter.schema.content": JSON.stringify(SCHEMA),
  };
}

/** A task that joins late would leave all records to another one. */
async function isSettled(bench: Bench, worker: ConnectWorker, connector: string): Promise<boolean> {
  await worker.assertRunning(connector);
  const members = await bench.kafka
    .tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", [
      "--describe",
      "--members",
      "--group",
      `connect-${connector}`,
    ])
    .catch(() => "");
  return isShared(members);
}

/** Whether so many members, as Kafka's tool lists them, have equal shares of the partitions (give or take one). */
export function isShared(members: string, tasks = WORKERS): boolean {
  const [head = "", ...rows] = members
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const column = head.split(/\s+/).indexOf("#PARTITIONS");
  const shares = rows.map((row) => Number(row.split(/\s+/)[column]));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.length === tasks && total === PARTITIONS && Math.max(...shares) - Math.min(...shares) <= 1;
}

async function areWaiting({ sql }: TestDatabase): Promise<boolean> {
  const [row] = await sql`
    select count(*)::int as waiting from pg_stat_activity
    where datname = current_database() and application_name = ${APPLICATION} and wait_event_type = 'Lock'`;
  return row?.["waiting"] === WORKERS;
}

/** When the sink's last statement ended, in ms since 1970; undefined while one runs. */
async function lastStatementMs({ sql }: TestDatabase): Promise<number | undefined> {
  const [row] = await sql`
    select bool_and(state = 'idle') as quiet, extract(epoch from max(state_change))::float8 * 1000 as last_ms
    from pg_stat_activity where datname = current_database() and application_name = ${APPLICATION}`;
  return row?.["quiet"] === true ? Number(row["last_ms"]) : undefined;
}
