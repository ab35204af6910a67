// Starts a real Kafka cluster (Apache Kafka in KRaft mode) that ends with its test.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { type Reaper, removeOnExit } from "../../shared/runtime/child-reaper.ts";
import { type KafkaArtifacts, kafkaArtifacts, whyNoKafka } from "./kafka-artifacts.ts";
import { KafkaBroker, randomUuid, runJava } from "./kafka-broker.ts";
import { type QuickStart, kafkaQuickStart } from "./kafka-quick-start.ts";
import { type TopicOptions, createTopic, deleteTopic } from "./topics.ts";

export interface KafkaClusterOptions {
  /** With three, a topic has three replicas, of which two must be in sync to write. Default 1. */
  brokers?: 1 | 3;
  /** Further broker properties; they replace the defaults below. */
  properties?: Readonly<Record<string, string>>;
  /** Clients have to log in with SCRAM-SHA-256 as one of these users (name to password), over plain TCP. */
  users?: Readonly<Record<string, string>>;
  /** The port that the (one) broker tells clients to connect to: that of a proxy. */
  advertisedPort?: number;
  /** Of each broker, besides those for a quick start and a heap that is enough for records of a few megabytes. */
  jvmFlags?: readonly string[];
}

/** A cluster that belongs to one test, which may kill, freeze and restart its brokers. */
export class KafkaCluster {
  /** Where clients connect. */
  readonly bootstrapServers: string;
  readonly #internalServers: string;
  readonly #artifacts: KafkaArtifacts;
  readonly #quickStart: QuickStart;
  readonly #jvmFlags: readonly string[];
  readonly #brokers: readonly KafkaBroker[];
  readonly #directory: string;
  readonly #reaper: Reaper;

  private constructor(
    { artifacts, quickStart }: PreparedKafka,
    { directory, reaper }: { directory: string; reaper: Reaper },
    brokers: readonly KafkaBroker[],
    ports: readonly BrokerPorts[],
    { jvmFlags = [] }: KafkaClusterOptions,
  ) {
    this.#jvmFlags = [...quickStart.jvmFlags, ...jvmFlags];
    this.#artifacts = artifacts;
    this.#quickStart = quickStart;
    this.#directory = directory;
    this.#reaper = reaper;
    this.#brokers = brokers;
    this.bootstrapServers = ports.map(({ client }) => `127.0.0.1:${client}`).join(",");
    this.#internalServers = ports.map(({ internal }) => `127.0.0.1:${internal}`).join(",");
  }

  /**
   * Starts a cluster and waits until every broker serves.
   * @param say takes a line before each step that takes long (the jars are fetched once per user)
   * @throws Error with the reason when no broker can be started here
   */
  static async start(
    options: KafkaClusterOptions = {},
    say: (line: string) => void = () => {},
  ): Promise<KafkaCluster> {
    const reason = whyNoKafka();
    if (reason !== undefined) throw new Error(`no Kafka broker can be started: ${reason}`);
    const { artifacts, quickStart } = await prepareKafka(say);
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-kafka-"));
    const reaper = removeOnExit(directory);
    const ports = await brokerPorts(options.brokers ?? 1);
    const clusterId = randomUuid();
    const brokers = ports.map((_, index) => {
      const properties = brokerProperties(index + 1, ports, options);
      return new KafkaBroker(artifacts, { nodeId: index + 1, clusterId, directory, properties });
    });
    const cluster = new KafkaCluster(
      { artifacts, quickStart },
      { directory, reaper },
      brokers,
      ports,
      options,
    );
    try {
      await Promise.all(brokers.map((broker) => cluster.#format(broker, options.users)));
      await Promise.all(brokers.map((broker) => broker.start(...cluster.#jvmFlags)));
      await Promise.all(brokers.map((broker) => broker.untilStarted()));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Process ids; undefined for a broker that is down. */
  get pids(): (number | undefined)[] {
    return this.#brokers.map((broker) => broker.pid);
  }

  /**
   * Sends a signal to broker `index` (0 is the first). SIGKILL and SIGTERM return when it is gone; SIGSTOP
   * freezes it until SIGCONT.
   */
  kill(index: number, signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    return this.#broker(index).kill(signal);
  }

  /** Starts a broker that was ended, on its old port and data, and waits until it serves. */
  async restart(index: number): Promise<void> {
    const broker = this.#broker(index);
    await broker.start(...this.#jvmFlags);
    await broker.untilStarted();
  }

  /** What broker `index` has logged so far. */
  log(index: number): Promise<string> {
    return this.#broker(index).log();
  }

  /** Where brokers and tools connect, without a login. */
  get internalServers(): string {
    return this.#internalServers;
  }

  /** Creates a topic, by default with as many replicas as there are brokers. */
  createTopic(name: string, options: TopicOptions = {}): Promise<void> {
    const replicationFactor = options.replicationFactor ?? this.#brokers.length;
    return createTopic(this.#internalServers, name, { ...options, replicationFactor });
  }

  /** Deletes a topic; one created again under the name has another id. */
  deleteTopic(name: string): Promise<void> {
    return deleteTopic(this.#internalServers, name);
  }

  /** Moves the start of a partition's log forward: the records below `offset` are gone, as after retention. */
  async deleteRecords(topic: string, partition: number, offset: number): Promise<void> {
    const path = join(this.#directory, `delete-${crypto.randomUUID()}.json`);
    await Bun.write(path, JSON.stringify({ version: 1, partitions: [{ topic, partition, offset }] }));
    await this.tool("org.apache.kafka.tools.DeleteRecordsCommand", ["--offset-json-file", path]);
  }

  /**
   * Runs one of Kafka's command-line classes against the cluster, past the clients' login. It takes a second or two.
   * @returns what it printed
   */
  tool(className: string, toolArguments: readonly string[]): Promise<string> {
    return runJava(this.#artifacts, className, [
      "--bootstrap-server",
      this.#internalServers,
      ...toolArguments,
    ]);
  }

  /** Ends all brokers at once and removes their data. */
  async stop(): Promise<void> {
    await Promise.all(this.#brokers.map((broker) => broker.kill("SIGKILL")));
    await rm(this.#directory, { recursive: true, force: true });
    this.#reaper.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #broker(index: number): KafkaBroker {
    const broker = this.#brokers[index];
    if (broker === undefined) throw new Error(`there is no broker ${index}`);
    return broker;
  }

  async #format(broker: KafkaBroker, users: KafkaClusterOptions["users"]): Promise<void> {
    if (users === undefined) return broker.format(this.#quickStart.bootstrapCheckpoint);
    const scram = Object.entries(users).flatMap(([name, password]) => [
      "--add-scram",
      `SCRAM-SHA-256=[name=${name},password=${password}]`,
    ]);
    return broker.formatWithTool(...scram);
  }
}

export interface PreparedKafka {
  readonly artifacts: KafkaArtifacts;
  readonly quickStart: QuickStart;
}

/**
 * Fetches and prepares what a cluster is started from, once per user.
 * @throws Error when Maven cannot fetch it
 */
export async function prepareKafka(say: (line: string) => void): Promise<PreparedKafka> {
  const artifacts = await kafkaArtifacts(say);
  return { artifacts, quickStart: await kafkaQuickStart(artifacts, say) };
}

interface BrokerPorts {
  readonly client: number;
  readonly internal: number;
  readonly controller: number;
}

async function brokerPorts(brokers: number): Promise<BrokerPorts[]> {
  const ports = await freePorts(3 * brokers);
  return Array.from({ length: brokers }, (_, index) => ({
    client: ports[3 * index]!,
    internal: ports[3 * index + 1]!,
    controller: ports[3 * index + 2]!,
  }));
}

function brokerProperties(
  nodeId: number,
  ports: readonly BrokerPorts[],
  { users, properties, advertisedPort }: KafkaClusterOptions,
): Record<string, string> {
  const { client, internal, controller } = ports[nodeId - 1]!;
  const replicas = String(ports.length);
  const minInSync = ports.length === 1 ? "1" : "2";
  return {
    "process.roles": "broker,controller",
    "node.id": String(nodeId),
    "controller.quorum.voters": ports
      .map((port, index) => `${index + 1}@127.0.0.1:${port.controller}`)
      .join(","),
    // Brokers and tools use a separate listener, so that the clients' listener can require a login.
    listeners: `CLIENT://127.0.0.1:${client},INTERNAL://127.0.0.1:${internal},CONTROLLER://127.0.0.1:${controller}`,
    ...(advertisedPort !== undefined && {
      "advertised.listeners": `CLIENT://127.0.0.1:${advertisedPort},INTERNAL://127.0.0.1:${internal}`,
    }),
    "inter.broker.listener.name": "INTERNAL",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": `CLIENT:${users ? "SASL_PLAINTEXT" : "PLAINTEXT"},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT`,
    ...(users && {
      "sasl.enabled.mechanisms": "SCRAM-SHA-256",
      "listener.name.client.scram-sha-256.sasl.jaas.config":
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    }),
    "default.replication.factor": replicas,
    "min.insync.replicas": minInSync,
    "offsets.topic.replication.factor": replicas,
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.replication.factor": replicas,
    "transaction.state.log.min.isr": minInSync,
    "transaction.state.log.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    // A test may let the group notice a dead member within a second or two.
    "group.min.session.timeout.ms": "1000",
    "auto.create.topics.enable": "false",
    // The default would take 128 MB for the cleaner alone.
    "log.cleaner.dedupe.buffer.size": "2097152",
    "log.cleaner.io.buffer.size": "65536",
    "num.network.threads": "1",
    "num.io.threads": "2",
    // The cluster notices a killed broker after 3 s instead of 9 s, and accepts it back as soon.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "5000",
    ...properties,
  };
}
