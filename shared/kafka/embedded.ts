// Runs a Kafka cluster inside this process, for the demo and for tests.
//
// It is librdkafka's mock cluster, in a C thread of librdkafka. It keeps at most 5 MiB of (compressed) records per
// partition, loses everything when it stops, cannot create topics by request, and does not hide aborted transactions.
import { Client, type Settings } from "./client.ts";
import { isNull, type Pointer, pointer } from "./ffi/memory.ts";

export interface EmbeddedTopic {
  readonly name: string;
  readonly partitions: number;
}

export interface EmbeddedBrokerOptions {
  readonly brokers: number;
  readonly topics: readonly EmbeddedTopic[];
}

/**
 * Further settings of a consumer of the embedded broker: this broker answers an empty fetch only after the full wait, and
 * completes a rebalance only when a session could have ended.
 */
export const EMBEDDED_CONSUMER_SETTINGS: Settings = {
  "fetch.wait.max.ms": "10",
  "session.timeout.ms": "2000",
  "heartbeat.interval.ms": "300",
};

const MAX_REPLICAS = 3;

/** A running mock cluster of one or more brokers, with the given topics. */
export class EmbeddedBroker {
  /** `host:port` of each broker, separated by commas; reachable from this machine only. */
  readonly bootstrapServers: string;
  /** librdkafka's handle of the cluster (`rd_kafka_mock_cluster_t`); tests inject faults through it. */
  readonly cluster: Pointer;
  readonly #client: Client;
  readonly #brokers: number;
  #stopped = false;

  private constructor(client: Client, cluster: Pointer, brokers: number) {
    this.#client = client;
    this.cluster = cluster;
    this.#brokers = brokers;
    this.bootstrapServers = client.library.c.rd_kafka_mock_cluster_bootstraps(cluster) ?? "";
  }

  // oxlint-disable-next-line require-await -- a promise, so that a real broker can take its place
  static async start({ brokers, topics }: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const client = Client.create("producer", { log_level: "0" }, 0);
    const { c } = client.library;
    const made = c.rd_kafka_mock_cluster_new(client.handle, brokers);
    if (isNull(made)) {
      client.destroy();
      throw new Error("the embedded Kafka broker cannot start");
    }
    const cluster = pointer(made, "rd_kafka_mock_cluster_new");
    // Without a controller it does not describe topics.
    c.rd_kafka_mock_set_controller_id(cluster, 1);
    c.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
    const broker = new EmbeddedBroker(client, cluster, brokers);
    for (const topic of topics) broker.createTopic(topic);
    return broker;
  }

  /** @throws KafkaError when the topic exists */
  createTopic({ name, partitions }: EmbeddedTopic): void {
    const replicas = Math.min(this.#brokers, MAX_REPLICAS);
    const { library } = this.#client;
    library.check(
      library.c.rd_kafka_mock_topic_create(this.cluster, name, partitions, replicas),
      `embedded Kafka broker: topic ${name}`,
    );
  }

  // oxlint-disable-next-line require-await -- see start
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#client.library.c.rd_kafka_mock_cluster_destroy(this.cluster);
    this.#client.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
