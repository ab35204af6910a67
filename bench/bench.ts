// Starts the Kafka broker and the PostgreSQL server of a run, and makes its topics and databases.
import { availableParallelism } from "node:os";
import { prepareNativeLibrary } from "../shared/kafka/native-library.ts";
import { producerSettings } from "../shared/kafka/settings.ts";
import { FatalError } from "../shared/runtime/errors.ts";
import { migrate } from "../shared/store/migrate.ts";
import { readMigrations } from "../shared/store/migration-files.ts";
import { Session } from "../shared/store/session.ts";
import { KafkaCluster } from "../test/support/kafka.ts";
import { whyNoKafka } from "../test/support/kafka-artifacts.ts";
import { TestPipeline } from "../test/support/pipeline.ts";
import { type PostgresServer, startPostgres, type TestDatabase } from "../test/support/postgres.ts";
import { type RawRecord, RawProducer } from "../test/support/raw-producer.ts";

export const PARTITIONS = 6;
/** Threads of the consumer, and connections of the bare COPY. */
export const WORKERS = Math.min(PARTITIONS, availableParallelism());

/** As in compose.yaml, without lz4, which the embedded server lacks; fsync is on, as in production. */
const POSTGRES_SETTINGS = { max_wal_size: "4GB", shared_buffers: "1GB" };

/** Before compression: the broker accepts 1 MiB after it. */
const MAX_RECORD_BYTES = "2000000";

/** A record to publish. */
export interface BenchRecord {
  readonly key: string;
  readonly value: string;
  /** By default the key chooses it. */
  readonly partition?: number;
}

/** The servers that all scenarios of a run share. */
export class Bench implements AsyncDisposable {
  readonly kafka: KafkaCluster;
  readonly postgres: PostgresServer;
  /** Connected to while databases are dropped. */
  readonly #maintenance: TestDatabase;
  #topics = 0;
  #previous: string | undefined;

  private constructor(kafka: KafkaCluster, postgres: PostgresServer, maintenance: TestDatabase) {
    this.kafka = kafka;
    this.postgres = postgres;
    this.#maintenance = maintenance;
  }

  /** @param say gets a line before each slow step @throws FatalError when no Kafka broker can run here */
  static async start(say: (line: string) => void): Promise<Bench> {
    const reason = whyNoKafka();
    if (reason !== undefined) throw new FatalError(`the bench needs a Kafka broker: ${reason}`);
    await prepareNativeLibrary(say);
    const kafka = await KafkaCluster.start({ brokers: 1 }, say);
    const postgres = await startPostgres({ durable: true, settings: POSTGRES_SETTINGS });
    return new Bench(kafka, postgres, await postgres.database());
  }

  /** "18.4" */
  async postgresVersion(): Promise<string> {
    const [row] = await this.#maintenance.sql`show server_version`;
    return String(row?.["server_version"]);
  }

  /** An empty topic. @param properties those of the topic @returns its name */
  async topic(properties: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = `bench-${++this.#topics}`;
    await this.kafka.createTopic(topic, { partitions: PARTITIONS, properties });
    return topic;
  }

  /**
   * A database with the pipeline's empty tables, after a checkpoint, so that every round finds the server in the same
   * state. Drops the previous database.
   */
  async database(): Promise<TestDatabase> {
    if (this.#previous !== undefined) {
      await this.#maintenance.sql.unsafe(`drop database "${this.#previous}" with (force)`);
    }
    const database = await this.postgres.database({ prepared: { name: "migrated", prepare: makeTables } });
    this.#previous = database.name;
    await this.#maintenance.sql`checkpoint`;
    return database;
  }

  /** A pipeline with a new database, to start consumers in. */
  async pipeline(topic: string, env: Readonly<Record<string, string>> = {}): Promise<TestPipeline> {
    return await TestPipeline.start({
      kafka: { bootstrapServers: this.kafka.bootstrapServers, topic },
      database: await this.database(),
      env: {
        CONSUMER_WORKERS: String(WORKERS),
        CONSUMER_BATCH_SIZE: "10000",
        LOG_LEVEL: "info",
        // The database is new, so the group must be new too.
        KAFKA_CONSUMER_GROUP: `bench-${crypto.randomUUID()}`,
        ...env,
      },
    });
  }

  /**
   * Measures on another PostgreSQL server, which has these settings alone; Kafka and its topics are those of this bench.
   */
  async withSettings<Result>(
    settings: Readonly<Record<string, string>>,
    measure: (bench: Bench) => Promise<Result>,
  ): Promise<Result> {
    await using postgres = await startPostgres({ durable: true, settings });
    await using maintenance = await postgres.database();
    return await measure(new Bench(this.kafka, postgres, maintenance));
  }

  /** Publishes records as fast as possible. @throws Error unless the broker acknowledges all of them */
  async fill(topic: string, records: Iterable<BenchRecord>): Promise<void> {
    await this.fillRaw(topic, bytesOf(records));
  }

  /** Publishes records byte for byte, up to 2 MB each. @throws Error unless the broker acknowledges all of them */
  async fillRaw(topic: string, records: Iterable<RawRecord>): Promise<void> {
    const settings = producerSettings({
      bootstrapServers: this.kafka.bootstrapServers,
      consumerGroup: "none",
      passThrough: { "message.max.bytes": MAX_RECORD_BYTES },
    });
    await using producer = await RawProducer.open(settings, topic);
    await producer.send(records);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#maintenance[Symbol.asyncDispose]();
    await this.postgres[Symbol.asyncDispose]();
    await this.kafka.stop();
  }
}

async function makeTables(database: TestDatabase): Promise<void> {
  const session = await Session.open(database.config, { role: "main", consumerGroup: "bench" });
  await migrate(session.sql, await readMigrations());
  await session.close();
}

/** The records as bytes. */
export function* bytesOf(records: Iterable<BenchRecord>): Generator<RawRecord> {
  for (const { key, value, partition } of records) {
    yield { key: Buffer.from(key), value: Buffer.from(value), partition };
  }
}
