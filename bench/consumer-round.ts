// A full topic in; how fast a consumer drains it into an empty database, and what an event costs each of the three, out.
import { eventually } from "../test/support/eventually.ts";
import type { TestConsumer, TestPipeline } from "../test/support/pipeline.ts";
import type { TestDatabase } from "../test/support/postgres.ts";
import { type Bench, PARTITIONS, WORKERS } from "./bench.ts";
import { cpuMicros, peakResidentMiB, treeCpuMicros } from "./processes.ts";
import type { ConsumerRound } from "./report.ts";

/** What is in a topic, as whoever filled it knows it. */
export interface TopicContent {
  readonly topic: string;
  readonly records: number;
  /** Of them, events whose event_id another one has. */
  readonly duplicates: number;
}

/** A consumer that writes raw events by INSERT, always. */
export const INSERT_ONLY = { COPY_RAW_EVENTS: "false" };

const SETTLE_DEADLINE_MS = 60_000;
const DRAIN_DEADLINE_MS = 10 * 60_000;
/** Between two looks at what is stored: it bounds the error of the time taken. */
const POLL_MS = 10;

/**
 * Drains a topic once and proves what was stored.
 *
 * The clock runs from the moment when every worker has its share of the partitions, and none has fetched a record,
 * until the last offset is committed. (A worker that joins late would leave another one most of the events.) For that
 * the offsets' table is locked while the group forms: the workers can join and be assigned partitions, and then wait
 * for the offsets to start from. To release the lock is to start the race.
 *
 * @param env further configuration of the consumer
 * @param whenStored is given the database when all is in it and proven
 * @throws Error where `check` fails, or finds another number of events or duplicates than the topic holds
 */
export async function consumerRound(
  bench: Bench,
  content: TopicContent,
  env: Readonly<Record<string, string>> = {},
  whenStored?: (database: TestDatabase) => Promise<void>,
): Promise<ConsumerRound> {
  await using pipeline = await bench.pipeline(content.topic, env);
  const { sql } = pipeline.database;
  const gate = await sql.reserve();
  await gate`begin`;
  await gate`lock table pipeline_offsets in access exclusive mode`;
  const consumer = pipeline.consumer();
  await pipeline.until(
    "every worker waits for the offsets of its partitions",
    () => isSettled(pipeline, consumer),
    SETTLE_DEADLINE_MS,
  );
  const { pid } = consumer.program;
  const cpu = () =>
    Promise.all([cpuMicros(pid), treeCpuMicros(bench.postgres.pid!), cpuMicros(bench.kafka.pids[0]!)]);
  const before = await cpu();
  const startedAt = performance.now();
  await gate`commit`;
  gate.release();
  await eventually(
    `all ${content.records} records are stored`,
    async () => {
      if (!consumer.program.running) throw new Error(`the consumer has ended:\n${consumer.program.output}`);
      const [row] = await sql`select coalesce(sum(consumed), 0)::int as consumed from pipeline_offsets`;
      return row?.["consumed"] === content.records;
    },
    { timeoutMs: DRAIN_DEADLINE_MS, everyMs: POLL_MS },
  );
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await cpu();
  const rssMiB = await peakResidentMiB(pid);
  await consumer.drain();
  await assertStored(pipeline, content);
  await whenStored?.(pipeline.database);
  const [client = 0, postgres = 0, broker = 0] = after.map(
    (micros, index) => (micros - before[index]!) / content.records,
  );
  return {
    eventsPerSecond: content.records / seconds,
    clientCpuMicrosPerEvent: client,
    postgresCpuMicrosPerEvent: postgres,
    brokerCpuMicrosPerEvent: broker,
    rssMiB,
  };
}

/** A worker without a partition waits for nothing, so all have some when all wait. */
async function isSettled({ database: { sql } }: TestPipeline, consumer: TestConsumer): Promise<boolean> {
  const [row] = await sql`
    select count(*)::int as waiting from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
      and application_name like 'event-pipeline worker %'`;
  return (
    row?.["waiting"] === WORKERS && (await consumer.total("consumer_assigned_partitions")) === PARTITIONS
  );
}

async function assertStored(pipeline: TestPipeline, { records, duplicates }: TopicContent): Promise<void> {
  const { exitCode, violated, accounted } = await pipeline.ledger();
  if (exitCode !== 0) throw new Error(`check fails after the drain: ${violated.join("; ")}`);
  const wanted = { records, events: records - duplicates, repeats: duplicates, broken: 0 };
  if (!Bun.deepEquals({ ...accounted }, wanted)) {
    throw new Error(`stored ${JSON.stringify(accounted)}, and the topic holds ${JSON.stringify(wanted)}`);
  }
}
