// Topics in; a Kafka cluster inside this process out, for the demo and for tests.
//
// It is librdkafka's mock cluster, in its own C thread. It forgets everything when it stops, keeps at most 5 MiB of
// (compressed) records per partition, cannot create topics by request, and does not hide aborted transactions.
import { KafkaError } from "./kafka-error.ts";
import { Client, type Settings } from "./client.ts";
import { isNull, type Pointer, pointer } from "./ffi/library.ts";
import { ErrorCode } from "./ffi/bindings.ts";

export interface EmbeddedTopic {
  readonly name: string;
  readonly partitions: number;
}

export interface EmbeddedBrokerOptions {
  readonly brokers: number;
  readonly topics: readonly EmbeddedTopic[];
}

/** AdminRequests of the Kafka protocol that can be made to fail. */
export const RequestKey = {
  produce: 0,
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  offsetCommit: 8,
  findCoordinator: 10,
  joinGroup: 11,
  heartbeat: 12,
  syncGroup: 14,
} as const;

/** What a consumer of the embedded broker sets besides: it answers an empty fetch and ends a session late. */
export const EMBEDDED_CONSUMER_SETTINGS: Settings = {
  "fetch.wait.max.ms": "10",
  "session.timeout.ms": "2000",
  "heartbeat.interval.ms": "300",
};

const MAX_REPLICAS = 3;
const ALL_BROKERS = -1;

export class EmbeddedBroker {
  /** `host:port` of each broker, separated by commas; reachable from this machine only. */
  readonly bootstrapServers: string;
  readonly #client: Client;
  readonly #cluster: Pointer;
  readonly #brokers: number;
  #stopped = false;

  private constructor(client: Client, cluster: Pointer, brokers: number) {
    this.#client = client;
    this.#cluster = cluster;
    this.#brokers = brokers;
    this.bootstrapServers = client.library.c.rd_kafka_mock_cluster_bootstraps(cluster) ?? "";
  }

  // oxlint-disable-next-line require-await -- a promise, so that another broker can take its place
  static async start({ brokers, topics }: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
    const client = Client.create("producer", { log_level: "0" }, 0);
    const { c } = client.library;
    const made = c.rd_kafka_mock_cluster_new(client.handle, brokers);
    if (isNull(made)) {
      client.destroy();
      throw new Error("the embedded Kafka broker cannot start");
    }
    const cluster = pointer(made, "rd_kafka_mock_cluster_new");
    // Without a controller it answers no question about topics.
    c.rd_kafka_mock_set_controller_id(cluster, 1);
    c.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
    const broker = new EmbeddedBroker(client, cluster, brokers);
    for (const topic of topics) broker.createTopic(topic);
    return broker;
  }

  /** @throws KafkaError when the topic exists */
  createTopic({ name, partitions }: EmbeddedTopic): void {
    const replicas = Math.min(this.#brokers, MAX_REPLICAS);
    this.#check(
      this.#client.library.c.rd_kafka_mock_topic_create(this.#cluster, name, partitions, replicas),
      `topic ${name}`,
    );
  }

  /** Makes the next requests of a kind fail, one for each code; -195 (_TRANSPORT) drops the connection. */
  failRequests(key: number, codes: readonly number[]): void {
    this.#client.library.c.rd_kafka_mock_push_request_errors_array(
      this.#cluster,
      key,
      codes.length,
      Int32Array.from(codes),
    );
  }

  clearFailures(key: number): void {
    this.#client.library.c.rd_kafka_mock_clear_request_errors(this.#cluster, key);
  }

  /** Lets every request for a topic fail with a code; 0 ends that. */
  failTopic(topic: string, code: number): void {
    this.#client.library.c.rd_kafka_mock_topic_set_error(this.#cluster, topic, code);
  }

  /** @param broker its number from 1, or all */
  setDown(broker = ALL_BROKERS): void {
    this.#check(this.#client.library.c.rd_kafka_mock_broker_set_down(this.#cluster, broker), "down");
  }

  setUp(broker = ALL_BROKERS): void {
    this.#check(this.#client.library.c.rd_kafka_mock_broker_set_up(this.#cluster, broker), "up");
  }

  setRoundTripMs(broker: number, roundTripMs: number): void {
    this.#check(
      this.#client.library.c.rd_kafka_mock_broker_set_rtt(this.#cluster, broker, roundTripMs),
      "round trip",
    );
  }

  setLeader(topic: string, partition: number, broker: number): void {
    this.#check(
      this.#client.library.c.rd_kafka_mock_partition_set_leader(this.#cluster, topic, partition, broker),
      "leader",
    );
  }

  // oxlint-disable-next-line require-await -- see start
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#client.library.c.rd_kafka_mock_cluster_destroy(this.#cluster);
    this.#client.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #check(code: number, what: string): void {
    if (this.#stopped) throw new KafkaError(code, "stopped", "the embedded Kafka broker was stopped");
    if (code !== ErrorCode.none) this.#client.library.check(code, `embedded Kafka broker: ${what}`);
  }
}
