// Starts what a chaos run breaks: three brokers, PostgreSQL behind a proxy, the consumers, and the load.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import type { DatabaseConfig } from "../../../shared/config/config.ts";
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
import { KafkaInquiry } from "./kafka-inquiry.ts";
import { LoadProcess } from "./load-process.ts";
import { TcpProxy } from "./tcp-proxy.ts";

export const MAIN_TOPIC = "chaos";
export const EDGE_TOPIC = "chaos-edge";
export const TOPICS = [MAIN_TOPIC, EDGE_TOPIC] as const;
const MAIN_PARTITIONS = 6;
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
  readonly inquiry: KafkaInquiry;
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

  private constructor(parts: {
    kafka: KafkaCluster;
    inquiry: KafkaInquiry;
    server: PostgresServer;
    proxy: TcpProxy;
    fleet: Fleet;
    load: LoadProcess;
    sql: postgres.Sql;
    smallDisk: string | undefined;
    directory: string;
  }) {
    this.kafka = parts.kafka;
    this.inquiry = parts.inquiry;
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
    const inquiry = started.use(new KafkaInquiry(kafka, TOPICS));
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
    const cluster = new ChaosCluster({
      kafka,
      inquiry,
      server,
      proxy,
      fleet,
      load,
      sql,
      smallDisk,
      directory,
    });
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
      // A connection that ends while it asks for the types rejects no promise that is awaited.
      fetch_types: false,
      onnotice() {},
      connection: { application_name: "chaos" },
      ...login,
    });
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
    const ids = await this.inquiry.topicIds();
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
}
