// A real Kafka broker and a real PostgreSQL in; topics with simulated events and consumers on them out.
import { prepareNativeLibrary } from "../shared/kafka/native.ts";
import { KafkaProducer } from "../shared/kafka/producer.ts";
import { producerSettings } from "../shared/kafka/settings.ts";
import { EventSimulator } from "../shared/source/simulator.ts";
import { KafkaCluster } from "../test/harness/kafka.ts";
import { PostgresServer } from "../test/harness/postgres.ts";
import { TestPipeline } from "../test/harness/pipeline.ts";

export const PARTITIONS = 6;
const USERS = 1000;

/** The servers that all scenarios of a run share. */
export class Bench implements AsyncDisposable {
  readonly kafka: KafkaCluster;
  readonly postgres: PostgresServer;
  readonly libraryPath: string;
  #topics = 0;

  private constructor(kafka: KafkaCluster, postgres: PostgresServer, libraryPath: string) {
    this.kafka = kafka;
    this.postgres = postgres;
    this.libraryPath = libraryPath;
  }

  static async start(say: (line: string) => void): Promise<Bench> {
    const libraryPath = await prepareNativeLibrary(say);
    const kafka = await KafkaCluster.start({ brokers: 1 }, say);
    const postgres = await PostgresServer.start({
      settings: { max_wal_size: "4GB", shared_buffers: "512MB" },
    });
    return new Bench(kafka, postgres, libraryPath);
  }

  /** A new topic, a new database, and whatever consumers the scenario starts on them. */
  async pipeline(env: Readonly<Record<string, string>> = {}): Promise<TestPipeline> {
    const topic = `bench-${++this.#topics}`;
    await this.kafka.createTopic(topic, { partitions: PARTITIONS });
    return await TestPipeline.start({
      kafka: { bootstrapServers: this.kafka.bootstrapServers, topic },
      database: await this.postgres.database(),
      env: { CONSUMER_BATCH_SIZE: "5000", LOG_LEVEL: "info", ...env },
    });
  }

  /** Publishes simulated events as fast as it goes. @returns when all are acknowledged, ms taken */
  async fill(topic: string, events: number): Promise<number> {
    const startedAt = performance.now();
    const producer: KafkaProducer = await KafkaProducer.open({
      libraryPath: this.libraryPath,
      settings: producerSettings({
        bootstrapServers: this.kafka.bootstrapServers,
        consumerGroup: "none",
        passThrough: {},
      }),
      topic,
      onWake: () => producer.poll(),
      onDelivered: () => {},
      onFailed: ({ message }) => {
        throw new Error(`a record was not delivered: ${message}`);
      },
      onError: () => {},
      onLog: () => {},
    });
    const simulator = new EventSimulator({
      userCount: USERS,
      minIntervalSeconds: 0.1,
      maxIntervalSeconds: 5,
    });
    for (let sent = 0; sent < events; sent++) {
      const { userId, json } = simulator.next();
      while (!producer.sendText(userId, json, 0)) {
        producer.poll();
        await Bun.sleep(1);
      }
    }
    const left = await producer.flush(60_000);
    await producer.close();
    if (left > 0) throw new Error(`${left} records were not acknowledged`);
    return performance.now() - startedAt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.postgres[Symbol.asyncDispose]();
    await this.kafka.stop();
  }
}

/** The middle of some figures. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
