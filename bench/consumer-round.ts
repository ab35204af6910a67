// Measures how fast a consumer drains a full topic into an empty database, and the CPU time and memory it takes.
import { eventually } from "../test/support/eventually.ts";
import type { TestPipeline } from "../test/support/pipeline.ts";
import type { TestDatabase } from "../test/support/postgres.ts";
import type { TestConsumer } from "../test/support/test-consumer.ts";
import { type Bench, PARTITIONS, WORKERS } from "./bench.ts";
import { cpuMicros, peakResidentMiB, treeCpuMicros } from "./processes.ts";
import type { ConsumerRound } from "./shapes.ts";

/** The content of a topic, known from filling it. */
export interface TopicContent {
  readonly topic: string;
  readonly records: number;
  /** The records that repeat the event_id of an earlier one. */
  readonly duplicates: number;
  /** The records that are not events; none if not given. */
  readonly deadLetters?: number;
}

/** Makes the consumer write all raw events by INSERT. */
export const INSERT_ONLY = { COPY_RAW_EVENTS: "false" };

const SETTLE_DEADLINE_MS = 60_000;
/** It reads all events. */
const CHECK_DEADLINE_MS = 10 * 60_000;
const DRAIN_DEADLINE_MS = 10 * 60_000;
/** Between two reads of the stored offsets; bounds the error of the measured time. */
const POLL_MS = 10;

/**
 * Drains a topic once into a new database and proves what was stored.
 *
 * @param env further configuration of the consumer
 * @param whenStored gets the database after everything is stored and proven
 * @throws Error when `check` fails, or when it finds other numbers of events, duplicates or dead letters than the topic has
 */
export async function consumerRound(
  bench: Bench,
  content: TopicContent,
  env: Readonly<Record<string, string>> = {},
  whenStored?: (database: TestDatabase) => Promise<void>,
): Promise<ConsumerRound> {
  await using pipeline = await bench.pipeline(content.topic, env);
  const round = await drainTopic(bench, pipeline, { stored: 0, records: content.records });
  await assertStored(pipeline, content);
  await whenStored?.(pipeline.database);
  return round;
}

/**
 * Measures how fast a new consumer stores what a topic contains.
 *
 * The measured time starts when every worker has its share of the partitions and none has fetched a record, and ends
 * when the last offset is committed. (A worker that joins late would leave most of the events to another one.) To get
 * there, the table of offsets is locked while the group forms: the workers join, are assigned partitions, and wait for
 * the offsets to start from. Releasing the lock starts the measurement.
 *
 * @param stored records of the topic that earlier consumers have stored
 * @param records those that are not stored yet
 */
export async function drainTopic(
  bench: Bench,
  pipeline: TestPipeline,
  { stored, records }: { readonly stored: number; readonly records: number },
): Promise<ConsumerRound> {
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
    `all ${stored + records} records are stored`,
    async () => {
      if (!consumer.program.running) throw new Error(`the consumer ended:\n${consumer.program.output}`);
      const [row] = await sql`select coalesce(sum(consumed), 0)::int as consumed from pipeline_offsets`;
      return row?.["consumed"] === stored + records;
    },
    { timeoutMs: DRAIN_DEADLINE_MS, everyMs: POLL_MS },
  );
  const seconds = (performance.now() - startedAt) / 1000;
  const after = await cpu();
  const rssMiB = await peakResidentMiB(pid);
  await consumer.drain();
  const [client = 0, postgres = 0, broker = 0] = after.map(
    (micros, index) => (micros - before[index]!) / records,
  );
  return {
    eventsPerSecond: records / seconds,
    clientCpuMicrosPerEvent: client,
    postgresCpuMicrosPerEvent: postgres,
    brokerCpuMicrosPerEvent: broker,
    rssMiB,
  };
}

/** A worker without partitions does not wait for the lock, so all workers have some when all wait. */
async function isSettled({ database: { sql } }: TestPipeline, consumer: TestConsumer): Promise<boolean> {
  const [row] = await sql`
    select count(*)::int as waiting from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
      and application_name like 'event-pipeline worker %'`;
  return (
    row?.["waiting"] === WORKERS && (await consumer.total("consumer_assigned_partitions")) === PARTITIONS
  );
}

/** @throws Error when `check` fails, or when it finds other numbers than the topic has */
export async function assertStored(
  pipeline: TestPipeline,
  { records, duplicates, deadLetters = 0 }: TopicContent,
): Promise<void> {
  const { exitCode, violated, accounted } = await pipeline.ledger(CHECK_DEADLINE_MS);
  if (exitCode !== 0) throw new Error(`check fails after the drain: ${violated.join("; ")}`);
  const events = records - duplicates - deadLetters;
  const wanted = { records, events, repeats: duplicates, broken: deadLetters };
  if (!Bun.deepEquals({ ...accounted }, wanted)) {
    throw new Error(`stored ${JSON.stringify(accounted)}, but the topic contains ${JSON.stringify(wanted)}`);
  }
}
