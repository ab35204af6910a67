// Runs partition workers in the test's own process, with a broker, a database, and faults between them.
import pino from "pino";
import type { TopicPartition } from "../../shared/event.ts";
import { EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { KafkaConsumer } from "../../shared/kafka/consumer.ts";
import { systemClock } from "../../shared/runtime/clock.ts";
import { Notifier } from "../../shared/runtime/notifier.ts";
import { claimDatabase } from "../../shared/store/database-owner.ts";
import { ThreadRecorder } from "../../shared/telemetry/recorder.ts";
import { WorkerTelemetry } from "../../shared/telemetry/worker-telemetry.ts";
import { PartitionWorker } from "../../workers/consumer/partition-worker.ts";
import type { DatabaseSession, KafkaPort, WorkerClock } from "../../workers/consumer/ports.ts";
import { makePostgresPort } from "../../workers/consumer/postgres-port.ts";
import { KafkaUnderTest } from "../kafka/kafka-variants.ts";
import { GROUP, openSession, pipelineDatabase, STORE_OPTIONS } from "../store/pipeline-database.ts";
import type { TestDatabase } from "../support/postgres.ts";
import { RawProducer } from "../support/raw-producer.ts";

export interface WorkerFaults {
  /** Replaces questions to Kafka. */
  kafka?: (real: KafkaConsumer) => Partial<KafkaPort>;
  /** Replaces work with the database. */
  session?: (real: DatabaseSession) => Partial<DatabaseSession>;
  clock?: WorkerClock;
  batchSize?: number;
  deadLetterLimit?: number;
}

/** A broker and a database, for workers that run in this process. */
export class WorkerBench implements AsyncDisposable {
  readonly kafka: KafkaUnderTest;
  readonly database: TestDatabase;
  readonly #broker: EmbeddedBroker;
  readonly #ended: (() => Promise<void>)[] = [];

  private constructor(broker: EmbeddedBroker, database: TestDatabase) {
    this.#broker = broker;
    this.kafka = new KafkaUnderTest(broker.bootstrapServers, broker);
    this.database = database;
  }

  static async start(): Promise<WorkerBench> {
    const database = await pipelineDatabase();
    const session = await openSession(database, { role: "main" });
    await claimDatabase(session.sql, GROUP);
    await session.close();
    return new WorkerBench(await EmbeddedBroker.start({ brokers: 1, topics: [] }), database);
  }

  /** Starts a worker. @returns it, the promise of its end, and the lines of its log */
  async worker(topics: readonly string[], faults: WorkerFaults = {}) {
    const notifier = new Notifier();
    const log: string[] = [];
    const member = await KafkaConsumer.open({
      settings: this.kafka.consumerSettings(GROUP),
      topics,
      onWake: () => notifier.notify(),
    });
    const postgres = makePostgresPort({
      database: this.database.config,
      consumerGroup: GROUP,
      store: STORE_OPTIONS,
    });
    const worker = new PartitionWorker(
      {
        kafka: replacing<KafkaPort>(member, faults.kafka?.(member)),
        database: {
          connect: async (onLost) => {
            const session = await postgres.connect(onLost);
            return replacing(session, faults.session?.(session));
          },
        },
        clock: faults.clock ?? systemClock,
        notifier,
      },
      {
        topics,
        consumerGroup: GROUP,
        batchSize: faults.batchSize ?? 500,
        saveRawEvents: true,
        maxFutureSkewMs: 86_400_000,
        deadLetterLimit: faults.deadLetterLimit,
      },
      new WorkerTelemetry(new ThreadRecorder(), pino({ level: "info" }, { write: (line) => log.push(line) })),
      () => undefined,
    );
    const ended = worker.run();
    ended.catch(() => undefined);
    this.#ended.push(async () => {
      worker.drain();
      await ended.catch(() => undefined);
    });
    return { worker, ended, log };
  }

  /** Rows by partition of a topic: the stored next offset and what Kafka had deleted. */
  async offsets(topic: string): Promise<Map<number, { next: number; deleted: number }>> {
    const rows = await this.database.sql<{ partition: number; next_offset: string; deleted: string }[]>`
      select partition, next_offset::text, deleted::text from pipeline_offsets where topic = ${topic}`;
    return new Map(
      rows.map(({ partition, next_offset, deleted }) => [
        partition,
        { next: Number(next_offset), deleted: Number(deleted) },
      ]),
    );
  }

  async isStored(topic: string, partitions: readonly number[], next: number): Promise<boolean> {
    const offsets = await this.offsets(topic);
    return partitions.every((partition) => offsets.get(partition)?.next === next);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ended) await end();
    await this.#broker.stop();
    await this.database[Symbol.asyncDispose]();
  }
}

/** `real` with some of its members replaced. */
function replacing<T extends object>(real: T, members: Partial<T> | undefined): T {
  if (members === undefined) return real;
  return new Proxy(real, {
    get(target, name) {
      const found: unknown = Reflect.get(name in members ? members : target, name);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}

/** Publishes small JSON records, or records of so many random bytes, which do not compress. */
export async function publish(
  kafka: KafkaUnderTest,
  topic: string,
  partition: number,
  count: number,
  bytes = 8,
) {
  const settings = kafka.producerSettings({ "batch.num.messages": "100" });
  await using producer = await RawProducer.open(settings, topic);
  const values = Array.from({ length: count }, (_, i) =>
    bytes <= 8 ? Buffer.from(`{"n":${i}}`) : Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))),
  );
  await producer.send(values.map((value) => ({ value, partition })));
}

export function stateOf(worker: PartitionWorker, partition: number): string | undefined {
  return worker.status().partitions.find((each: TopicPartition) => each.partition === partition)?.state;
}

/** The process ids of the sessions of all workers. */
export async function sessionsOf({ sql }: TestDatabase): Promise<number[]> {
  const rows = await sql<{ pid: number }[]>`
    select pid from pg_stat_activity
    where datname = current_database() and application_name like 'event-pipeline worker %'`;
  return rows.map(({ pid }) => pid);
}

/** Ends the sessions of all workers, as a restart of PostgreSQL would. @returns their process ids */
export async function endSessions(database: TestDatabase): Promise<number[]> {
  const pids = await sessionsOf(database);
  await database.sql`select pg_terminate_backend(pid) from unnest(${pids}::int[]) as ended (pid)`;
  return pids;
}
