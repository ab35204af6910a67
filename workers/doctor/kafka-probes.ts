// Probes Kafka: addresses, login, topics, rights and settings, with the sentences of the programs' start.
import { ensureTopics, maxMessageBytes, whyUnidentified } from "../../shared/kafka/admin.ts";
import { whyUnwritable } from "../../shared/kafka/unwritable-reason.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import type { Operation } from "../../shared/kafka/authorized-operations.ts";
import { Client } from "../../shared/kafka/client.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { adminSettings, consumerSettings, producerSettings } from "../../shared/kafka/settings.ts";
import type { TopicDescription } from "../../shared/kafka/topic-description.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { count, plural } from "../../shared/text/format.ts";
import { parseAddress, probeAddresses } from "./address-probes.ts";
import { failed, type Finding, ok, probe, skipped, warning } from "./finding.ts";

const DEADLINE_MS = 10_000;
const REQUEST_MS = 5000;
const RETRY_MS = 200;
const NO_TOPIC = "no topic yet";
const AFTER_LOGIN = [
  "kafka_brokers",
  "kafka_topics",
  "kafka_topic_ids",
  "kafka_rights",
  "kafka_replicas",
  "kafka_sizes",
];

/** @param hasLibrary false where there is no librdkafka: then only the addresses are tried */
export async function probeKafka(kafka: KafkaConfig, hasLibrary: boolean): Promise<Finding[]> {
  const address = await probeAddresses("kafka_address", kafka.bootstrapServers.split(",").map(parseAddress), {
    where: "KAFKA_BOOTSTRAP_SERVERS",
    advice: "Start Kafka, or correct the variable",
  });
  if (!hasLibrary) return [address, ...skipped(["kafka_settings", "kafka_login", ...AFTER_LOGIN], "library")];
  const settings = await probe("kafka_settings", async () => probeSettings(kafka));
  const fault = [address, settings].find(({ result }) => result === "failed");
  if (fault !== undefined)
    return [address, settings, ...skipped(["kafka_login", ...AFTER_LOGIN], fault.name)];
  const login = await probe("kafka_login", async () => {
    await describe(kafka, []);
    return ok("kafka_login", securityOf(kafka));
  });
  if (login.result === "failed") return [address, settings, login, ...skipped(AFTER_LOGIN, "kafka_login")];
  const brokers = await probe("kafka_brokers", () => probeBrokers(kafka));
  let found: TopicDescription[] | undefined;
  const topics = await probe("kafka_topics", async () => {
    found = await describe(kafka, kafka.topics);
    return probeTopics(found);
  });
  const before = [address, settings, login, brokers, topics];
  if (found === undefined) return [...before, ...skipped(AFTER_LOGIN.slice(2), "kafka_topics")];
  const existing = found.filter(({ errorCode }) => errorCode === ErrorCode.none);
  const names = existing.map(({ topic }) => topic);
  return [
    ...before,
    probeTopicIds(existing),
    await probe("kafka_rights", () => probeRights(kafka, names)),
    await probe("kafka_replicas", () => probeReplicas(kafka, names)),
    await probe("kafka_sizes", () => probeSizes(kafka, names)),
  ];
}

/** Librdkafka refuses properties that it does not know or that do not fit together. */
function probeSettings(kafka: KafkaConfig): Finding {
  Client.create("consumer", consumerSettings(kafka), 0).destroy();
  Client.create("producer", producerSettings(kafka), 0).destroy();
  const names = Object.keys(kafka.passThrough);
  return ok("kafka_settings", names.length === 0 ? "the defaults" : `librdkafka accepts ${names.join(", ")}`);
}

/** As the programs' start does it, without creating what is missing. */
async function describe(kafka: KafkaConfig, topics: readonly string[]): Promise<TopicDescription[]> {
  const options = { ...kafka, topics, settings: adminSettings(kafka), deadlineMs: DEADLINE_MS, dryRun: true };
  return await ensureTopics(options);
}

function securityOf({ passThrough }: KafkaConfig): string {
  const protocol = (passThrough["security.protocol"] ?? "plaintext").toUpperCase();
  const mechanism = passThrough["sasl.mechanisms"] ?? passThrough["sasl.mechanism"];
  return mechanism === undefined ? protocol : `${protocol} with ${mechanism}`;
}

/** Brokers tell clients where to connect next, and that may be an address of another network. */
async function probeBrokers(kafka: KafkaConfig): Promise<Finding> {
  const brokers = await withAdmin(kafka, (admin) => admin.brokers(REQUEST_MS));
  return await probeAddresses("kafka_brokers", brokers, {
    where: "the addresses that the brokers give to clients",
    advice: "Set advertised.listeners of the brokers to addresses that this machine can connect to",
  });
}

function probeTopics(topics: readonly TopicDescription[]): Finding {
  const details = topics.map(({ topic, errorCode, partitions }) =>
    errorCode === ErrorCode.unknownTopicOrPartition
      ? `${topic} does not exist; the first start creates it`
      : `${topic} has ${plural(partitions.length, "partition")}`,
  );
  return ok("kafka_topics", details.join("; "));
}

function probeTopicIds(topics: readonly TopicDescription[]): Finding {
  const notes = topics.map(whyUnidentified).filter((note) => note !== undefined);
  if (notes.length > 0) return warning("kafka_topic_ids", notes.join("; "));
  const ids = topics.map(({ topic, topicId }) => `${topic} ${topicId}`);
  return ok("kafka_topic_ids", ids.length === 0 ? NO_TOPIC : ids.join(", "));
}

/** The consumer reads all topics, the producer writes to the first. */
async function probeRights(kafka: KafkaConfig, topics: readonly string[]): Promise<Finding> {
  const group = kafka.consumerGroup;
  const lacking: string[] = [];
  let isKnown = true;
  const check = async (
    what: string,
    needed: readonly Operation[],
    ask: () => Promise<Operation[] | undefined>,
  ) => {
    const rights = await answered(ask);
    if (rights === undefined) isKnown = false;
    else
      lacking.push(
        ...needed.filter((right) => !rights.includes(right)).map((right) => `${right} on ${what}`),
      );
  };
  await withAdmin(kafka, async (admin) => {
    for (const topic of topics) {
      const needed: Operation[] = topic === kafka.topics[0] ? ["Read", "Write"] : ["Read"];
      await check(`topic ${topic}`, needed, () => admin.topicOperations(topic, REQUEST_MS));
    }
    await check(`group ${group}`, ["Read"], () => admin.groupOperations(group, REQUEST_MS));
  });
  if (lacking.length > 0) {
    const advice = "grant it with kafka-acls.sh --add --allow-principal User:… --operation …";
    return failed("kafka_rights", `this user lacks ${lacking.join(", ")}: ${advice}`);
  }
  if (!isKnown) return warning("kafka_rights", "the brokers do not tell what this user may do");
  return ok("kafka_rights", `may read and write as the group ${group}`);
}

/** Repeats a question that a broker cannot answer yet. A refusal means no rights. */
async function answered(ask: () => Promise<Operation[] | undefined>): Promise<Operation[] | undefined> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof KafkaError)) throw error;
      if (error.kind === "authorization") return [];
      // Such as a coordinator that the cluster makes with the first group.
      if (error.kind !== "retryable" || performance.now() > deadline) throw error;
      await Bun.sleep(RETRY_MS);
    }
  }
}

async function probeReplicas(kafka: KafkaConfig, topics: readonly string[]): Promise<Finding> {
  if (topics.length === 0) return ok("kafka_replicas", NO_TOPIC);
  const reasons = await whyUnwritable({ settings: adminSettings(kafka), topics, deadlineMs: REQUEST_MS });
  if (reasons.length > 0) return failed("kafka_replicas", reasons.join("; "));
  return ok("kafka_replicas", "all partitions have a leader and enough replicas in sync");
}

async function probeSizes(kafka: KafkaConfig, [topic]: readonly string[]): Promise<Finding> {
  if (topic === undefined) return ok("kafka_sizes", NO_TOPIC);
  const limit = await maxMessageBytes(adminSettings(kafka), topic, REQUEST_MS);
  const detail = `${topic} takes batches of ${count(limit)} bytes`;
  if (limit >= MAX_VALUE_BYTES) return ok("kafka_sizes", detail);
  return warning("kafka_sizes", `${detail}; the consumer would accept records of ${count(MAX_VALUE_BYTES)}`);
}

async function withAdmin<T>(kafka: KafkaConfig, use: (admin: AdminClient) => Promise<T>): Promise<T> {
  const admin = await AdminClient.open(adminSettings(kafka));
  try {
    return await use(admin);
  } finally {
    admin.close();
  }
}
