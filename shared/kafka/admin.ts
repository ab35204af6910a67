// Topics that shall exist in; topics that exist out, or one sentence that says why they cannot.
import { FatalError } from "../runtime/errors.ts";
import { AdminClient, type TopicResult } from "./admin-client.ts";
import type { Settings } from "./client.ts";
import { KafkaError } from "./kafka-error.ts";
import { ErrorCode } from "./ffi/bindings.ts";
import type { TopicDescription } from "./topic-description.ts";

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
}

/** A request that comes too early waits for its whole time, so it gets little. */
const ATTEMPT_MS = 2000;
const RETRY_MS = 200;
const DEFAULT_REPLICAS = 3;
/** A broker that is starting may refuse good credentials for a moment. */
const AUTHENTICATION_PATIENCE_MS = 5000;

/** Refusals that trying again does not mend, and what they mean. */
const FINAL_REFUSALS: Readonly<Record<number, string>> = {
  [ErrorCode.invalidTopic]: "the name is not allowed",
  [ErrorCode.topicAuthorizationFailed]: "this user is not allowed to",
  [ErrorCode.clusterAuthorizationFailed]: "this user is not allowed to",
  [ErrorCode.invalidPartitions]: "the number of partitions is not allowed",
  [ErrorCode.invalidConfiguration]: "a setting of the topic is not allowed",
  [ErrorCode.invalidRequest]: "the request is not allowed",
  [ErrorCode.policyViolation]: "a policy of the cluster forbids it",
  [ErrorCode.unsupportedFeature]: "this broker cannot create topics by request",
  [ErrorCode.invalidArgument]: "librdkafka does not accept it",
};

/**
 * Creates the topics that are missing, and waits while brokers come up. Topics that exist stay as they are.
 * @returns what the brokers say of the topics
 * @throws FatalError with one sentence: no broker answers, or what they refuse
 */
export async function ensureTopics(options: EnsureTopicsOptions): Promise<TopicDescription[]> {
  return withAdmin(options, async (admin) => {
    const startedAt = performance.now();
    const created = new Set<string>();
    let obstacle = "";
    for (;;) {
      const elapsedMs = performance.now() - startedAt;
      if (elapsedMs >= options.deadlineMs) throw unreachable(options, admin, obstacle);
      const timeoutMs = attemptMs(options.deadlineMs - elapsedMs);
      try {
        const found = await admin.describeTopics(options.topics, timeoutMs);
        obstacle = notReady(found, created);
        const missing = missingTopics(found);
        if (missing.length === 0 && obstacle === "") return found;
        if (missing.length > 0) {
          const replicationFactor =
            options.replicationFactor ?? (await defaultReplicas(admin, options, elapsedMs, timeoutMs));
          if (replicationFactor === undefined) {
            obstacle = "not all of its brokers have come up";
          } else {
            const wanted = missing.map((topic) => ({
              topic,
              partitions: options.partitions,
              replicationFactor,
              settings: options.topicSettings,
            }));
            obstacle = judge(await admin.createTopics(wanted, timeoutMs), created);
          }
        }
      } catch (error) {
        if (error instanceof FatalError) throw error;
        if (error instanceof KafkaError)
          throwFinal(
            error.code,
            `the topics ${options.topics.join(", ")} cannot be made ready`,
            error.message,
          );
        obstacle = "";
        throwBadCredentials(options, admin, performance.now() - startedAt);
      }
      await Bun.sleep(RETRY_MS);
    }
  });
}

/** @throws KafkaError when no broker answers in time */
export async function describeTopics(options: AdminOptions): Promise<TopicDescription[]> {
  return withAdmin(options, (admin) => admin.describeTopics(options.topics, options.deadlineMs));
}

/**
 * Deletes topics with all of their records; those that do not exist are no error.
 * @throws KafkaError for the first that is refused
 */
export async function deleteTopics(options: AdminOptions): Promise<void> {
  await withAdmin(options, async (admin) => {
    for (const { topic, errorCode, error } of await admin.deleteTopics(options.topics, options.deadlineMs)) {
      if (errorCode !== ErrorCode.none && errorCode !== ErrorCode.unknownTopicOrPartition) {
        throw new KafkaError(errorCode, "refused", `topic ${topic} cannot be deleted: ${error}`);
      }
    }
  });
}

/**
 * Why records cannot be written to topics with acks=all, one sentence for each reason; empty when they can.
 * @throws KafkaError when no broker answers in time
 */
export async function whyUnwritable(options: AdminOptions): Promise<string[]> {
  return withAdmin(options, async (admin) => {
    const reasons: string[] = [];
    for (const description of await admin.describeTopics(options.topics, options.deadlineMs)) {
      const { topic, error, partitions } = description;
      if (error !== undefined) {
        reasons.push(`topic ${topic}: ${error}`);
        continue;
      }
      const leaderless = partitions.filter(({ hasLeader }) => !hasLeader);
      if (leaderless.length > 0) {
        reasons.push(
          `topic ${topic}: ${leaderless.length} of ${partitions.length} partitions have no leader`,
        );
      }
      const setting = await admin
        .topicSetting(topic, "min.insync.replicas", options.deadlineMs)
        .catch(() => undefined);
      const needed = Number(setting ?? 1);
      const short = partitions.filter(
        ({ hasLeader, inSyncReplicas }) => hasLeader && inSyncReplicas < needed,
      );
      if (short.length > 0) {
        const fewest = Math.min(...short.map(({ inSyncReplicas }) => inSyncReplicas));
        const never = short.some(({ replicas }) => replicas < needed)
          ? "; it has fewer replicas than that altogether"
          : "";
        reasons.push(
          `topic ${topic}: ${short.length} of ${partitions.length} partitions have fewer replicas in sync (${fewest}) than min.insync.replicas asks for (${needed})${never}`,
        );
      }
    }
    return reasons;
  });
}

async function withAdmin<T>(
  { settings }: AdminOptions,
  work: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  const admin = await AdminClient.open(settings);
  try {
    return await work(admin);
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
 * What is still to wait for; "" for nothing. Right after its creation a topic may have no id and no leaders.
 * A topic that was there before is taken as it is: a partition without a leader is no reason not to start.
 */
function notReady(found: readonly TopicDescription[], created: ReadonlySet<string>): string {
  for (const { topic, topicId, errorCode, error, partitions } of found) {
    if (errorCode === ErrorCode.unknownTopicOrPartition) continue;
    throwFinal(errorCode, `the topic ${topic} cannot be used`, error ?? "");
    if (errorCode !== ErrorCode.none) return `topic ${topic}: ${error}`;
    if (topicId === undefined) return `topic ${topic} has no id`;
    if (created.has(topic) && partitions.some(({ hasLeader }) => !hasLeader)) {
      return `topic ${topic} has partitions without a leader`;
    }
  }
  return "";
}

/** @returns what stands in the way and may pass, "" for nothing. @throws FatalError for what will not pass */
function judge(results: readonly TopicResult[], created: Set<string>): string {
  let obstacle = "";
  for (const { topic, errorCode, error } of results) {
    if (errorCode === ErrorCode.none || errorCode === ErrorCode.topicExists) {
      created.add(topic);
    } else {
      throwFinal(errorCode, `the topic ${topic} cannot be created`, error);
      // Too many replicas for the brokers that are up: more may come.
      obstacle = `the topic ${topic} cannot be created: ${error}`;
    }
  }
  return obstacle;
}

/**
 * 3 where there are three brokers, else 1. While fewer are up than the addresses name, it is too early to say:
 * a topic keeps its replicas for life. So for half of the time they are waited for.
 * @returns undefined while it is too early
 */
async function defaultReplicas(
  admin: AdminClient,
  { settings, deadlineMs }: EnsureTopicsOptions,
  elapsedMs: number,
  timeoutMs: number,
): Promise<number | undefined> {
  const named = (settings["bootstrap.servers"] ?? "").split(",").length;
  const brokers = await admin.brokerCount(timeoutMs);
  if (brokers >= DEFAULT_REPLICAS) return DEFAULT_REPLICAS;
  return named >= DEFAULT_REPLICAS && elapsedMs < deadlineMs / 2 ? undefined : 1;
}

function throwFinal(code: number, what: string, detail: string): void {
  const meaning = FINAL_REFUSALS[code];
  if (meaning !== undefined) throw new FatalError(`${what}: ${meaning} (${detail})`);
}

function throwBadCredentials(
  { settings }: AdminOptions,
  { lastError }: AdminClient,
  elapsedMs: number,
): void {
  if (lastError?.code === ErrorCode.authentication && elapsedMs >= AUTHENTICATION_PATIENCE_MS) {
    throw new FatalError(
      `Kafka at ${settings["bootstrap.servers"]} refuses our credentials: ${lastError.message}`,
    );
  }
}

function unreachable(
  { settings, topics }: AdminOptions,
  { lastError }: AdminClient,
  obstacle: string,
): Error {
  const servers = settings["bootstrap.servers"];
  if (obstacle !== "") {
    return new FatalError(`Kafka at ${servers} is not ready for ${topics.join(", ")}: ${obstacle}`);
  }
  const detail = lastError === undefined ? "" : `: ${lastError.message}`;
  if (lastError?.code === ErrorCode.authentication) {
    return new FatalError(`Kafka at ${servers} refuses our credentials${detail}`);
  }
  if (lastError?.code === ErrorCode.ssl) {
    return new FatalError(`there is no TLS connection to Kafka at ${servers}${detail}`);
  }
  return new FatalError(
    `no Kafka broker answers at ${servers} (see KAFKA_BOOTSTRAP_SERVERS, and KAFKA_CONFIG_SECURITY_PROTOCOL if it wants TLS or SASL)${detail}`,
  );
}

function attemptMs(leftMs: number): number {
  return Math.max(1, Math.min(ATTEMPT_MS, Math.round(leftMs)));
}

export type { TopicDescription } from "./topic-description.ts";
