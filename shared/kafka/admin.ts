// Creates missing topics when a program starts, or says in one sentence why they cannot be used.
import { FatalError } from "../runtime/errors.ts";
import { AdminClient, type TopicResult } from "./admin-client.ts";
import type { ErrorReport, Settings } from "./client.ts";
import { ErrorCode, errorKind, errorMeaning } from "./error-codes.ts";
import { KafkaError } from "./kafka-error.ts";
import { type TopicDescription, withIdentity } from "./topic-description.ts";

export interface AdminOptions {
  /** See `adminSettings`. */
  readonly settings: Settings;
  readonly topics: readonly string[];
  readonly deadlineMs: number;
}

export interface EnsureTopicsOptions extends AdminOptions {
  readonly partitions: number;
  /** Undefined: 3 where there are three brokers, else 1. */
  readonly replicationFactor: number | undefined;
  /** Settings for topics that are created, such as `retention.ms`. */
  readonly topicSettings?: Settings;
  /** Asks only whether the topics that are missing could be created. */
  readonly dryRun?: boolean;
}

/** Short: a request to a broker that is still starting waits for its whole timeout. */
const ATTEMPT_MS = 2000;
const RETRY_MS = 200;
const DEFAULT_REPLICAS = 3;
/** A topic that has no id for so long, and no error, gets none: its brokers give none. */
const NO_ID_MS = 2000;
/** A broker that is starting may refuse valid credentials for a moment. */
const AUTHENTICATION_GRACE_MS = 5000;

/**
 * Creates the topics that are missing, and waits while brokers come up. Topics that exist stay unchanged.
 * Without topics it only waits until a broker answers.
 * @returns the descriptions of all topics; after a dry run also those of missing ones, with their error
 * @throws FatalError with one sentence: no broker answers, or what the brokers refuse
 */
export async function ensureTopics(options: EnsureTopicsOptions): Promise<TopicDescription[]> {
  const startedAt = performance.now();
  const created = new Set<string>();
  let admin = await AdminClient.open(options.settings);
  let lastError: ErrorReport | undefined;
  let obstacle = "";
  let withoutIdSince: number | undefined;
  try {
    for (;;) {
      const elapsedMs = performance.now() - startedAt;
      if (elapsedMs >= options.deadlineMs) throw unreachable(options, lastError, obstacle);
      const timeoutMs = attemptMs(options.deadlineMs - elapsedMs);
      try {
        // Without topics librdkafka asks no broker.
        if (options.topics.length === 0) await admin.brokers(timeoutMs);
        const found = await admin.describeTopics(options.topics, timeoutMs);
        const isIdLate = performance.now() - (withoutIdSince ??= performance.now()) > NO_ID_MS;
        obstacle = notReady(found, created, isIdLate);
        const missing = missingTopics(found);
        if (missing.length === 0 && obstacle === "") return found.map(withIdentity);
        if (missing.length > 0) {
          const replicationFactor =
            options.replicationFactor ?? (await defaultReplicas(admin, options, elapsedMs, timeoutMs));
          if (replicationFactor === undefined) {
            obstacle = "not all of its brokers are up";
          } else {
            const wanted = missing.map((topic) => ({
              topic,
              partitions: options.partitions,
              replicationFactor,
              settings: options.topicSettings,
            }));
            const validateOnly = options.dryRun === true;
            obstacle = creationObstacle(
              await admin.createTopics(wanted, timeoutMs, { validateOnly }),
              created,
            );
            if (validateOnly && obstacle === "") return found;
          }
        }
      } catch (error) {
        if (error instanceof FatalError) throw error;
        if (error instanceof KafkaError)
          throwFinal(error.code, `the topics ${options.topics.join(", ")} cannot be used`, error.message);
        obstacle = "";
        lastError = admin.lastError ?? lastError;
        throwBadCredentials(options, lastError, performance.now() - startedAt);
        // A client asks the broker that it knows as the controller for minutes, even if that broker has died.
        admin.close();
        admin = await AdminClient.open(options.settings);
      }
      await Bun.sleep(RETRY_MS);
    }
  } finally {
    admin.close();
  }
}

/**
 * @returns the size of the largest batch of records that the topic takes, compressed, bytes
 * @throws KafkaError when the brokers do not tell
 */
export async function maxMessageBytes(
  settings: Settings,
  topic: string,
  deadlineMs: number,
): Promise<number> {
  const admin = await AdminClient.open(settings);
  try {
    return Number(await admin.topicSetting(topic, "max.message.bytes", deadlineMs));
  } finally {
    admin.close();
  }
}

function missingTopics(found: readonly TopicDescription[]): string[] {
  return found.flatMap(({ topic, errorCode }) =>
    errorCode === ErrorCode.unknownTopicOrPartition ? [topic] : [],
  );
}

/**
 * Says what to wait for; "" for nothing. Right after its creation a topic may have no id and no leaders. A topic that
 * existed before may have partitions without a leader: that is no reason not to start.
 */
function notReady(
  found: readonly TopicDescription[],
  created: ReadonlySet<string>,
  isIdLate: boolean,
): string {
  for (const { topic, topicId, standInId, errorCode, error, partitions } of found) {
    if (errorCode === ErrorCode.unknownTopicOrPartition) continue;
    throwFinal(errorCode, `the topic ${topic} cannot be used`, error ?? "");
    if (errorCode !== ErrorCode.none) return `topic ${topic}: ${error}`;
    if (topicId === undefined && !(isIdLate && standInId !== undefined)) {
      return `topic ${topic} has no id, and its cluster none that could stand for it`;
    }
    if (created.has(topic) && partitions.some(({ hasLeader }) => !hasLeader)) {
      return `topic ${topic} has partitions without a leader`;
    }
  }
  return "";
}

/** Says what cannot be noticed of a topic that has no id; undefined for one that has. */
export function whyUnidentified({ topic, topicId, standInId }: TopicDescription): string | undefined {
  if (standInId === undefined || topicId !== standInId) return undefined;
  return (
    `the brokers give topic ${topic} no id (as before Kafka 2.8, and Azure Event Hubs), so its name and its cluster stand for it: ` +
    "if it is deleted and created again, records of the new one below the stored offsets are never read. Give a new topic a new name"
  );
}

/** @returns the obstacle that may pass, "" for none. @throws FatalError for a final refusal */
function creationObstacle(results: readonly TopicResult[], created: Set<string>): string {
  let obstacle = "";
  for (const { topic, errorCode, error } of results) {
    if (errorCode === ErrorCode.none || errorCode === ErrorCode.topicExists) {
      created.add(topic);
    } else {
      throwFinal(errorCode, `the topic ${topic} cannot be created`, error);
      // Such as too many replicas for the brokers that are up: more may come.
      obstacle = `the topic ${topic} cannot be created: ${error}`;
    }
  }
  return obstacle;
}

/**
 * 3 where there are three brokers, else 1. A topic keeps its replicas for life. So where the addresses name three
 * brokers and fewer are up, the others get half of the deadline to come up.
 * @returns undefined while it is too early
 */
async function defaultReplicas(
  admin: AdminClient,
  { settings, deadlineMs }: EnsureTopicsOptions,
  elapsedMs: number,
  timeoutMs: number,
): Promise<number | undefined> {
  const named = (settings["bootstrap.servers"] ?? "").split(",").length;
  const brokers = (await admin.brokers(timeoutMs)).length;
  if (brokers >= DEFAULT_REPLICAS) return DEFAULT_REPLICAS;
  return named >= DEFAULT_REPLICAS && elapsedMs < deadlineMs / 2 ? undefined : 1;
}

function throwFinal(code: number, what: string, detail: string): void {
  if (errorKind(code) === "retryable") return;
  throw new FatalError(`${what}: ${errorMeaning(code)} (${detail})`);
}

function throwBadCredentials(
  { settings }: AdminOptions,
  lastError: ErrorReport | undefined,
  elapsedMs: number,
): void {
  if (lastError?.code === ErrorCode.authentication && elapsedMs >= AUTHENTICATION_GRACE_MS) {
    throw new FatalError(
      `Kafka at ${settings["bootstrap.servers"]} refuses the credentials: ${lastError.message}`,
    );
  }
}

function unreachable(
  { settings, topics }: AdminOptions,
  lastError: ErrorReport | undefined,
  obstacle: string,
): Error {
  const servers = settings["bootstrap.servers"];
  if (obstacle !== "") {
    return new FatalError(`Kafka at ${servers} is not ready for ${topics.join(", ")}: ${obstacle}`);
  }
  const detail = lastError === undefined ? "" : `: ${lastError.message}`;
  if (lastError?.code === ErrorCode.authentication) {
    return new FatalError(`Kafka at ${servers} refuses the credentials${detail}`);
  }
  if (lastError?.code === ErrorCode.ssl) {
    return new FatalError(`cannot open a TLS connection to Kafka at ${servers}${detail}`);
  }
  return new FatalError(
    `no Kafka broker answers at ${servers} (see KAFKA_BOOTSTRAP_SERVERS, and KAFKA_CONFIG_SECURITY_PROTOCOL if it requires TLS or SASL)${detail}`,
  );
}

function attemptMs(leftMs: number): number {
  return Math.max(1, Math.min(ATTEMPT_MS, Math.round(leftMs)));
}
