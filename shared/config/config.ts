// Environment variables in, one checked Config out, or one ConfigurationError with all that is wrong.
import { availableParallelism } from "node:os";
import { type Environment, EnvironmentReader, parseDecimal } from "./environment.ts";
import { ConfigurationError } from "../runtime/errors.ts";
import { isSecretProperty, passThroughProperties } from "./kafka-properties.ts";
import { misspelledVariables } from "./unknown-variables.ts";

export { REFUSED_PROPERTIES } from "./kafka-properties.ts";

export interface KafkaConfig {
  readonly bootstrapServers: string;
  readonly topics: readonly string[];
  readonly partitions: number;
  /** Undefined: 3 where there are three brokers, else 1. */
  readonly replicationFactor: number | undefined;
  readonly consumerGroup: string;
  /** Further librdkafka properties by their own names ("ssl.ca.location"). */
  readonly passThrough: Readonly<Record<string, string>>;
}

export type SslMode = "disable" | "allow" | "prefer" | "require" | "verify-ca" | "verify-full";

export interface DatabaseConfig {
  /** A host name, an address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly user: string;
  readonly password: string;
  readonly sslMode: SslMode;
  readonly minConnections: number;
  readonly maxConnections: number;
}

export interface ProducerConfig {
  readonly minIntervalSeconds: number;
  readonly maxIntervalSeconds: number;
  readonly userCount: number;
  /** Infinity = unlimited; undefined = exponential spacing, or as fast as it goes with `input`. */
  readonly ratePerSecond: number | undefined;
  /** A file of JSON lines, or "-" for standard input; undefined = the simulator. */
  readonly input: string | undefined;
}

export interface ConsumerConfig {
  readonly workers: number;
  /** The most records in one transaction. */
  readonly batchSize: number;
  /** How long after its end an hour stays open (AGGREGATOR_FLUSH_INTERVAL_MINUTES). */
  readonly hourGraceMinutes: number;
  readonly flushIntervalSeconds: number;
  readonly saveRawEvents: boolean;
  readonly copyRawEvents: boolean;
  readonly savePipelineMetrics: boolean;
  readonly maxFutureSkewSeconds: number;
}

export interface MonitoringConfig {
  /** The address to listen on. */
  readonly httpHost: string;
  /** Who may see the console and /api; more than this machine only where HTTP_HOST says so. */
  readonly consoleAccess: "this_machine" | "anyone";
  readonly producerPort: number;
  readonly consumerPort: number;
  readonly prometheusUrl: string;
  /** A share of the events, 0 to 1. */
  readonly errorRateThreshold: number;
  /** Records. */
  readonly consumerLagThreshold: number;
  readonly processingLatencyThresholdSeconds: number;
  /** Where alerts are posted; whoever knows it can post there, so it is a secret. "" = nowhere. */
  readonly alertWebhookUrl: string;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface Config {
  readonly kafka: KafkaConfig;
  readonly database: DatabaseConfig;
  readonly producer: ProducerConfig;
  readonly consumer: ConsumerConfig;
  readonly monitoring: MonitoringConfig;
  readonly logLevel: LogLevel;
  /** Variables that look like ours and are not; for the log. */
  readonly warnings: readonly string[];
}

/** Which program reads the configuration: the secrets that it does not use are left unread. */
export type ProgramRole = "producer" | "consumer" | "check" | "demo" | "bench";

/** Every variable with its default as text ("" = none); config.example.env says the same, and a test compares. */
export const VARIABLES = {
  KAFKA_BOOTSTRAP_SERVERS: "localhost:9091,localhost:9092,localhost:9093",
  KAFKA_TOPIC: "user-events",
  KAFKA_TOPIC_PARTITIONS: "6",
  KAFKA_TOPIC_REPLICATION_FACTOR: "",
  KAFKA_CONSUMER_GROUP: "data-pipeline-consumer",
  DB_HOST: "localhost",
  DB_PORT: "5432",
  DB_NAME: "data_pipeline",
  DB_USER: "pipeline_user",
  DB_PASSWORD: "pipeline_password",
  DB_PASSWORD_FILE: "",
  DB_SSLMODE: "prefer",
  DB_MIN_CONNECTIONS: "2",
  DB_MAX_CONNECTIONS: "10",
  PRODUCER_MIN_INTERVAL: "0.1",
  PRODUCER_MAX_INTERVAL: "5.0",
  PRODUCER_USER_COUNT: "1000",
  PRODUCER_RATE: "",
  PRODUCER_INPUT: "",
  CONSUMER_WORKERS: "",
  CONSUMER_BATCH_SIZE: "5000",
  AGGREGATOR_FLUSH_INTERVAL_MINUTES: "5",
  FLUSH_INTERVAL_SECONDS: "60",
  SAVE_RAW_EVENTS: "true",
  COPY_RAW_EVENTS: "true",
  SAVE_PIPELINE_METRICS: "true",
  MAX_FUTURE_SKEW_SECONDS: "86400",
  HTTP_HOST: "",
  METRICS_PORT_PRODUCER: "8001",
  METRICS_PORT_CONSUMER: "8002",
  PROMETHEUS_URL: "http://localhost:9090",
  ALERT_ERROR_RATE_THRESHOLD: "0.05",
  ALERT_CONSUMER_LAG_THRESHOLD: "1000",
  ALERT_PROCESSING_LATENCY_THRESHOLD: "5.0",
  ALERT_WEBHOOK_URL: "",
  ALERT_WEBHOOK_URL_FILE: "",
  LOG_LEVEL: "info",
  AUTO_SETUP: "true",
} as const;

type Reader = EnvironmentReader<keyof typeof VARIABLES>;

/** Connections that the consumer's main thread may hold; the workers have one each. */
const MAIN_CONNECTIONS = 2;
const DAY_SECONDS = 86_400;
const ALL_ADDRESSES = "0.0.0.0";

/**
 * Reads and checks the whole configuration.
 * @param processors how many workers run at once on this machine
 * @throws ConfigurationError with every problem, each naming its variable, its value and what is wanted
 */
export function loadConfig(
  environment: Environment,
  role: ProgramRole,
  processors = availableParallelism(),
): Config {
  const read: Reader = new EnvironmentReader(environment, VARIABLES);
  const database = readDatabase(read, role !== "producer" && role !== "demo");
  const config: Config = {
    kafka: {
      ...readKafka(read),
      passThrough: passThroughProperties(environment, read, role !== "demo"),
    },
    database,
    producer: readProducer(read),
    consumer: readConsumer(read, database, processors),
    monitoring: readMonitoring(read, role === "producer" || role === "consumer"),
    logLevel: read.oneOf("LOG_LEVEL", ["info", "debug", "warn", "error"]),
    warnings: misspelledVariables(environment, Object.keys(VARIABLES)),
  };
  read.boolean("AUTO_SETUP"); // used before the configuration is read (runtime/ensure-packages.ts)
  if (read.problems.length > 0) throw new ConfigurationError(read.problems);
  return config;
}

function readKafka(read: Reader): Omit<KafkaConfig, "passThrough"> {
  const bootstrapServers = splitList(read.text("KAFKA_BOOTSTRAP_SERVERS"));
  for (const address of bootstrapServers) {
    if (!isHostAndPort(address)) {
      read.problem("KAFKA_BOOTSTRAP_SERVERS", address, "must be host:port, several separated by commas");
    }
  }
  const topics = splitList(read.text("KAFKA_TOPIC"));
  for (const topic of topics) {
    if (!/^[a-zA-Z0-9._-]{1,249}$/.test(topic) || topic === "." || topic === "..") {
      read.problem("KAFKA_TOPIC", topic, "a topic name is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'");
    }
  }
  if (bootstrapServers.length === 0) read.problem("KAFKA_BOOTSTRAP_SERVERS", "", "names no broker");
  if (topics.length === 0) read.problem("KAFKA_TOPIC", "", "names no topic");
  if (new Set(topics).size < topics.length) read.problem("KAFKA_TOPIC", topics.join(), "names a topic twice");
  return {
    bootstrapServers: bootstrapServers.join(),
    topics,
    partitions: read.integer("KAFKA_TOPIC_PARTITIONS", 1, 100_000),
    replicationFactor: read.optionalInteger("KAFKA_TOPIC_REPLICATION_FACTOR", 1, 100),
    consumerGroup: read.matching(
      "KAFKA_CONSUMER_GROUP",
      /^[\x21-\x7e]{1,200}$/,
      "must be 1 to 200 printable characters without spaces",
    ),
  };
}

function readDatabase(read: Reader, readSecret: boolean): DatabaseConfig {
  const minConnections = read.integer("DB_MIN_CONNECTIONS", 1, 1000);
  const maxConnections = read.integer("DB_MAX_CONNECTIONS", MAIN_CONNECTIONS + 1, 1000);
  if (minConnections > maxConnections) {
    read.problem("DB_MIN_CONNECTIONS", `${minConnections}`, `is above DB_MAX_CONNECTIONS=${maxConnections}`);
  }
  return {
    host: read.matching(
      "DB_HOST",
      /^\S+$/,
      "must be a host name, an address, or the folder of a Unix socket",
    ),
    port: read.integer("DB_PORT", 1, 65_535),
    name: read.matching("DB_NAME", /^.{1,63}$/, "must be 1 to 63 characters"),
    user: read.matching("DB_USER", /^.{1,63}$/, "must be 1 to 63 characters"),
    password: readSecret ? read.secret("DB_PASSWORD", VARIABLES.DB_PASSWORD) : "",
    sslMode: read.oneOf("DB_SSLMODE", ["prefer", "disable", "allow", "require", "verify-ca", "verify-full"]),
    minConnections,
    maxConnections,
  };
}

function readProducer(read: Reader): ProducerConfig {
  const minIntervalSeconds = read.number("PRODUCER_MIN_INTERVAL", 0, DAY_SECONDS);
  const maxIntervalSeconds = read.number("PRODUCER_MAX_INTERVAL", 0.000_001, DAY_SECONDS);
  if (minIntervalSeconds > maxIntervalSeconds) {
    read.problem(
      "PRODUCER_MIN_INTERVAL",
      `${minIntervalSeconds}`,
      `is above PRODUCER_MAX_INTERVAL=${maxIntervalSeconds}`,
    );
  }
  return {
    minIntervalSeconds,
    maxIntervalSeconds,
    userCount: read.integer("PRODUCER_USER_COUNT", 1, 1_000_000_000),
    ratePerSecond: readRate(read),
    input: read.text("PRODUCER_INPUT") || undefined,
  };
}

function readRate(read: Reader): number | undefined {
  const text = read.text("PRODUCER_RATE");
  if (text === "") return undefined;
  if (/^unlimited$/i.test(text)) return Number.POSITIVE_INFINITY;
  const rate = parseDecimal(text);
  if (rate !== undefined && rate > 0 && rate <= 1e9) return rate;
  read.problem("PRODUCER_RATE", text, "must be events per second (a number above 0), or unlimited");
  return undefined;
}

function readConsumer(read: Reader, database: DatabaseConfig, processors: number): ConsumerConfig {
  return {
    workers: readWorkers(read, database, processors),
    batchSize: read.integer("CONSUMER_BATCH_SIZE", 1, 100_000),
    hourGraceMinutes: read.number("AGGREGATOR_FLUSH_INTERVAL_MINUTES", 0, 525_600),
    flushIntervalSeconds: read.number("FLUSH_INTERVAL_SECONDS", 0.1, DAY_SECONDS),
    saveRawEvents: read.boolean("SAVE_RAW_EVENTS"),
    copyRawEvents: read.boolean("COPY_RAW_EVENTS"),
    savePipelineMetrics: read.boolean("SAVE_PIPELINE_METRICS"),
    maxFutureSkewSeconds: read.number("MAX_FUTURE_SKEW_SECONDS", 0, 1e10),
  };
}

/** Every worker holds one connection, so that workers and main together stay within DB_MAX_CONNECTIONS. */
function readWorkers(read: Reader, database: DatabaseConfig, processors: number): number {
  const most = Math.max(1, database.maxConnections - MAIN_CONNECTIONS);
  const wanted = read.optionalInteger("CONSUMER_WORKERS", 1, 1000);
  if (wanted === undefined) {
    return Math.min(most, Math.max(1, database.minConnections - 1, Math.min(processors, most)));
  }
  if (wanted > most) {
    read.problem(
      "CONSUMER_WORKERS",
      `${wanted}`,
      `each worker needs a connection of its own and the main thread ${MAIN_CONNECTIONS}: ` +
        `DB_MAX_CONNECTIONS=${database.maxConnections} allows ${most}`,
    );
  }
  return wanted;
}

function readMonitoring(read: Reader, readSecret: boolean): MonitoringConfig {
  const httpHost = read.matching("HTTP_HOST", /^[a-zA-Z0-9._:-]*$/, "must be an address or a host name");
  return {
    httpHost: httpHost || ALL_ADDRESSES,
    consoleAccess:
      httpHost === "" || /^(localhost|127\.[\d.]+|::1)$/i.test(httpHost) ? "this_machine" : "anyone",
    producerPort: read.integer("METRICS_PORT_PRODUCER", 0, 65_535),
    consumerPort: read.integer("METRICS_PORT_CONSUMER", 0, 65_535),
    prometheusUrl: readUrl(read),
    errorRateThreshold: read.number("ALERT_ERROR_RATE_THRESHOLD", 0, 1),
    consumerLagThreshold: read.number("ALERT_CONSUMER_LAG_THRESHOLD", 0, Number.MAX_SAFE_INTEGER),
    processingLatencyThresholdSeconds: read.number("ALERT_PROCESSING_LATENCY_THRESHOLD", 0, DAY_SECONDS),
    alertWebhookUrl: readSecret ? readWebhookUrl(read) : "",
  };
}

function readUrl(read: Reader): string {
  const text = read.text("PROMETHEUS_URL");
  if (!isHttpUrl(text)) {
    read.problem("PROMETHEUS_URL", withoutCredentials(text), "must be an http or https address");
  }
  return text;
}

function readWebhookUrl(read: Reader): string {
  const text = read.secret("ALERT_WEBHOOK_URL", VARIABLES.ALERT_WEBHOOK_URL).trim();
  if (text !== "" && !isHttpUrl(text)) {
    read.problem("ALERT_WEBHOOK_URL", REDACTED, "must be an http or https address");
  }
  return text;
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function isHostAndPort(address: string): boolean {
  const port = /^(?:\[[0-9a-fA-F:.%]+\]|[^\s:/[\]]+):(\d{1,5})$/.exec(address)?.[1];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}

/** What a program does not use, so that its start-up line does not speak of it. */
const UNUSED_SECTIONS: Readonly<Record<ProgramRole, readonly string[]>> = {
  producer: ["database", "consumer"],
  consumer: ["producer"],
  check: ["producer", "consumer", "monitoring"],
  demo: [],
  bench: [],
};

/** One flat object for the start-up log line; passwords, keys and other secrets are redacted. */
export function describeConfig(
  { kafka, database, producer, consumer, monitoring, logLevel }: Config,
  role: ProgramRole = "demo",
): Record<string, string | number | boolean> {
  const flat: Record<string, string | number | boolean> = {};
  const { passThrough, ...ownKafka } = kafka;
  const { password, ...openDatabase } = database;
  const { alertWebhookUrl, ...openMonitoring } = monitoring;
  const sections: Record<string, object> = {
    kafka: ownKafka,
    database: openDatabase,
    producer,
    consumer,
    monitoring: openMonitoring,
  };
  for (const [section, values] of Object.entries(sections)) {
    if (UNUSED_SECTIONS[role].includes(section)) continue;
    for (const [name, value] of Object.entries(values)) {
      if (value !== undefined) flat[`${section}.${name}`] = asScalar(value);
    }
    if (section === "database") flat["database.password"] = password === "" ? "(empty)" : REDACTED;
    if (section === "monitoring") {
      flat["monitoring.alertWebhookUrl"] = alertWebhookUrl === "" ? "(none)" : REDACTED;
    }
  }
  for (const [property, value] of Object.entries(passThrough)) {
    flat[property] = isSecretProperty(property) ? REDACTED : withoutCredentials(value);
  }
  flat["logLevel"] = logLevel;
  return flat;
}

const REDACTED = "(redacted)";

function asScalar(value: unknown): string | number | boolean {
  if (typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : "unlimited";
  return withoutCredentials(String(value));
}

function withoutCredentials(text: string): string {
  return text.replace(/\/\/[^/@\s]*@/g, `//${REDACTED}@`);
}
