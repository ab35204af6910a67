// Starts what a chaos run breaks: three brokers, PostgreSQL behind a proxy, the consumers, and the load.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import type { DatabaseConfig } from "../../../shared/config/config.ts";
import type { TopicPartition } from "../../../shared/event.ts";
import { AdminClient } from "../../../shared/kafka/admin-client.ts";
import { prepareNativeLibrary } from "../../../shared/kafka/native-library.ts";
import { eventually } from "../../support/eventually.ts";
import { KafkaCluster } from "../../support/kafka.ts";
import { type PostgresServer, startPostgres } from "../../support/postgres.ts";
import {
  DATABASE,
  GROUP,
  INITIAL_PASSWORD,
  mountSmallDisk,
  prepareDatabase,
  ROLE,
  unmount,
} from "./database.ts";
import { Fleet } from "./fleet.ts";
import { LoadProcess } from "./load-process.ts";
import { type ReplicaPlaces, replicaPlaces } from "./replica-places.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export const MAIN_TOPIC = "chaos";
export const EDGE_TOPIC = "chaos-edge";
export const TOPICS = [MAIN_TOPIC, EDGE_TOPIC] as const;
const MAIN_PARTITIONS = 6;
const REQUEST_TIMEOUT_MS = 5000;
/** A broker rejoins its replicas within seconds of its start. */
const IN_SYNC_DEADLINE_MS = 90_000;
export const MAX_CONNECTIONS = 60;
/** An event of the run's hour is at most an hour ahead of the clock: a clock that is wrong by an hour rejects it. */
const MAX_FUTURE_SKEW_SECONDS = 3900;

/** The settings that rule how fast the consumers recover; a fault names the one that rules it. */
export const RECOVERY_SETTINGS = {
  KAFKA_CONFIG_SESSION_TIMEOUT_MS: "6000",
  KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
  KAFKA_CONFIG_MAX_POLL_INTERVAL_MS: "10000",
  KAFKA_CONFIG_TOPIC_METADATA_REFRESH_INTERVAL_MS: "3000",
} as const;

/** As tight as the ones in edge: two replicas, one of them enough to write, and a leader that lost records is accepted. */
const EDGE_PROPERTIES = { "min.insync.replicas": "1", "unclean.leader.election.enable": "true" };

export interface ChaosClusterOptions {
  readonly rate: number;
  readonly baseHour: number;
  readonly say: (line: string) => void;
}

/** Everything that a fault may break, and that the ledger reads. */
export class ChaosCluster implements AsyncDisposable {
  readonly kafka: KafkaCluster;
  readonly server: PostgresServer;
  /** Between the consumers and PostgreSQL; everything else connects directly. */
  readonly proxy: TcpProxy;
  readonly fleet: Fleet;
  readonly load: LoadProcess;
  /** A superuser's connections, past the proxy. */
  readonly sql: postgres.Sql;
  /** Where a small file system holds raw_events; undefined where this user may not mount one. */
  readonly smallDisk: string | undefined;
  /** The password of the consumers' role, as the server knows it. */
  rolePassword = INITIAL_PASSWORD;
  readonly #directory: string;
  #admin: AdminClient | undefined;

  private constructor(parts: {
    kafka: KafkaCluster;
    server: PostgresServer;
    proxy: TcpProxy;
    fleet: Fleet;
    load: LoadProcess;
    sql: postgres.Sql;
    smallDisk: string | undefined;
    directory: string;
  }) {
    this.kafka = parts.kafka;
    this.server = parts.server;
    this.proxy = parts.proxy;
    this.fleet = parts.fleet;
    this.load = parts.load;
    this.sql = parts.sql;
    this.smallDisk = parts.smallDisk;
    this.#directory = parts.directory;
  }

  /** @throws Error with the reason when something cannot be started here */
  static async start({ rate, baseHour, say }: ChaosClusterOptions): Promise<ChaosCluster> {
    await prepareNativeLibrary(say);
    await using started = new AsyncDisposableStack();
    const kafka = started.use(await KafkaCluster.start({ brokers: 3 }, say));
    await kafka.createTopic(MAIN_TOPIC, { partitions: MAIN_PARTITIONS });
    await kafka.createTopic(EDGE_TOPIC, { partitions: 1, replicationFactor: 2, properties: EDGE_PROPERTIES });
    const server = started.use(
      await startPostgres({
        settings: { max_connections: String(MAX_CONNECTIONS), superuser_reserved_connections: "10" },
      }),
    );
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-chaos-"));
    started.defer(() => rm(directory, { recursive: true, force: true }));
    // The server runs as another user than root.
    await chmod(directory, 0o755);
    const smallDisk = await mountSmallDisk(server.directory);
    if (smallDisk !== undefined) started.defer(() => unmount(smallDisk));
    const sql = await prepareDatabase(server, smallDisk);
    started.defer(() => sql.end({ timeout: 1 }));
    const proxy = started.use(await TcpProxy.start(server));
    const passwordFile = join(directory, "password");
    await Bun.write(passwordFile, INITIAL_PASSWORD);
    const fleet = started.use(
      new Fleet({
        directory,
        say,
        env: {
          KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
          KAFKA_TOPIC: TOPICS.join(","),
          KAFKA_CONSUMER_GROUP: GROUP,
          ...RECOVERY_SETTINGS,
          DB_HOST: "127.0.0.1",
          DB_PORT: String(proxy.port),
          DB_NAME: DATABASE,
          DB_USER: ROLE,
          DB_PASSWORD_FILE: passwordFile,
          DB_SSLMODE: "disable",
          METRICS_PORT_CONSUMER: "0",
          HTTP_HOST: "127.0.0.1",
          CONSUMER_WORKERS: "2",
          CONSUMER_BATCH_SIZE: "500",
          FLUSH_INTERVAL_SECONDS: "5",
          AGGREGATOR_FLUSH_INTERVAL_MINUTES: "1",
          MAX_FUTURE_SKEW_SECONDS: String(MAX_FUTURE_SKEW_SECONDS),
        },
      }),
    );
    const load = started.use(
      new LoadProcess({ bootstrapServers: kafka.bootstrapServers, topics: TOPICS, rate, baseHour }),
    );
    const cluster = new ChaosCluster({ kafka, server, proxy, fleet, load, sql, smallDisk, directory });
    started.defer(() => cluster.#admin?.close());
    await cluster.learnTopicIds();
    const all = started.move();
    cluster[Symbol.asyncDispose] = () => all.disposeAsync();
    return cluster;
  }

  /** Replaced by `start`. */
  async [Symbol.asyncDispose](): Promise<void> {}

  /** The file that the consumers read the password of their role from. */
  get passwordFile(): string {
    return join(this.#directory, "password");
  }

  /** The role that the consumers log in as. */
  get role(): string {
    return ROLE;
  }

  /** Opens a further connection: as superuser and past the proxy, or as the consumers do. */
  connection(as: "superuser" | "role", max = 1): postgres.Sql {
    const { host, port, user, password } = this.server;
    const login =
      as === "superuser" ? { username: user, password } : { username: ROLE, password: this.rolePassword };
    return postgres({
      host,
      port,
      database: DATABASE,
      max,
      // A connection that ends while it asks for the types rejects nobody's promise.
      fetch_types: false,
      onnotice() {},
      connection: { application_name: "chaos" },
      ...login,
    });
  }

  /** Where each partition of the topics lies. */
  places(topics: readonly string[] = TOPICS): Promise<ReplicaPlaces[]> {
    // Without a controller, for seconds, nothing is described.
    return eventually(
      "Kafka describes its topics",
      () => replicaPlaces(this.#settings, topics, REQUEST_TIMEOUT_MS),
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** Waits until every replica of every topic is in sync, so that the next broker may go. */
  async allInSync(): Promise<void> {
    await eventually(
      "all replicas are in sync",
      async () => {
        const places = await this.places([...TOPICS, "__consumer_offsets"]);
        return places.every(
          ({ leader, replicas, inSync }) => leader !== undefined && inSync.length === replicas.length,
        );
      },
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** The broker that coordinates the group, by its index. */
  async coordinator(): Promise<number> {
    const places = await this.places(["__consumer_offsets"]);
    const number = Math.abs(javaHash(GROUP)) % places.length;
    return brokerIndex(places.find(({ partition }) => partition === number)?.leader);
  }

  /** The active controller, by its index. */
  async controller(): Promise<number> {
    const status = await this.kafka.tool("org.apache.kafka.tools.MetadataQuorumCommand", [
      "describe",
      "--status",
    ]);
    return brokerIndex(Number(/LeaderId:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN));
  }

  /** The ends of partitions as a read_committed reader sees them. @throws Error when no leader answers for a while */
  ends(partitions: readonly TopicPartition[]): Promise<number[]> {
    return this.#offsets(partitions, "end");
  }

  /** Where the logs of partitions begin. @throws Error when no leader answers for a while */
  beginnings(partitions: readonly TopicPartition[]): Promise<number[]> {
    return this.#offsets(partitions, "beginning");
  }

  #offsets(partitions: readonly TopicPartition[], which: "beginning" | "end"): Promise<number[]> {
    return eventually(
      `Kafka knows each ${which}`,
      async () => {
        const ask = async (admin: AdminClient) => {
          const found = await admin.listOffsets(partitions, which, REQUEST_TIMEOUT_MS);
          return found.map((offset, index) => {
            const { topic, partition } = partitions[index]!;
            if (offset === undefined) throw new Error(`not of ${topic} [${partition}]`);
            return offset;
          });
        };
        return this.#askAdmin(ask);
      },
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** A client that has asked in vain goes: it would ask the leaders that it knows, also dead ones, for many minutes. */
  async #askAdmin<T>(question: (admin: AdminClient) => Promise<T>): Promise<T> {
    const admin = (this.#admin ??= await AdminClient.open(this.#settings));
    try {
      return await question(admin);
    } catch (error) {
      if (this.#admin === admin) {
        this.#admin = undefined;
        admin.close();
      }
      throw error;
    }
  }

  /** The database as its owner sees it, past the proxy. */
  get databaseConfig(): DatabaseConfig {
    const { host, port, user, password } = this.server;
    return {
      host,
      port,
      user,
      password,
      name: DATABASE,
      sslMode: "disable",
      minConnections: 1,
      maxConnections: 2,
    };
  }

  /** Reads the ids of the topics, for the load. @returns them */
  async learnTopicIds(): Promise<ReadonlyMap<string, string>> {
    const found = await eventually(
      "Kafka describes its topics",
      () => this.#askAdmin((admin) => admin.describeTopics([...TOPICS], REQUEST_TIMEOUT_MS)),
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
    const ids = new Map(found.map(({ topic, topicId }) => [topic, topicId ?? ""]));
    this.load.topicIds = [ids.get(MAIN_TOPIC) ?? "", ids.get(EDGE_TOPIC) ?? ""];
    return ids;
  }

  /** Deletes the edge topic and creates it again. The load must not run. */
  async recreateEdgeTopic(): Promise<void> {
    await this.kafka.deleteTopic(EDGE_TOPIC);
    await eventually("the topic is gone", async () => (await this.learnTopicIds()).get(EDGE_TOPIC) === "");
    await this.kafka.createTopic(EDGE_TOPIC, {
      partitions: 1,
      replicationFactor: 2,
      properties: EDGE_PROPERTIES,
    });
    await this.learnTopicIds();
  }

  get #settings() {
    return { "bootstrap.servers": this.kafka.bootstrapServers, "reconnect.backoff.max.ms": "1000" };
  }
}

/** Node ids are indices plus one. */
export function brokerIndex(nodeId: number | undefined): number {
  if (nodeId === undefined || Number.isNaN(nodeId)) throw new Error("there is no such broker");
  return nodeId - 1;
}

/** String.hashCode of Java, by which a group is placed. */
function javaHash(text: string): number {
  let hash = 0;
  for (const character of text) hash = (Math.imul(31, hash) + character.charCodeAt(0)) | 0;
  return hash;
}
