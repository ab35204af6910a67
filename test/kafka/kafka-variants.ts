// Runs a test against the embedded broker, against a real Kafka, or against both.
import { test } from "bun:test";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { ensureTopics } from "../../shared/kafka/admin.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { ErrorCode } from "../../shared/kafka/error-codes.ts";
import { EMBEDDED_CONSUMER_SETTINGS, EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings, consumerSettings, producerSettings } from "../../shared/kafka/settings.ts";
import type { TopicDescription } from "../../shared/kafka/topic-description.ts";
import { deleteTopics } from "../support/delete-topics.ts";
import { eventually } from "../support/eventually.ts";
import { kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { BrokerFaults } from "./broker-faults.ts";

const EMBEDDED_TEST_TIMEOUT_MS = 60_000;
const REAL_TEST_TIMEOUT_MS = 90_000;
const TOPIC_DEADLINE_MS = 30_000;
const REQUEST_TIMEOUT_MS = 10_000;

export const { path: libraryPath } = await prepareNativeLibrary(() => {});

/** A Kafka that a test may use, and how its clients are set up. */
export class KafkaUnderTest {
  readonly bootstrapServers: string;
  readonly #embedded: EmbeddedBroker | undefined;
  readonly #faults: BrokerFaults | undefined;

  constructor(bootstrapServers: string, embedded?: EmbeddedBroker) {
    this.bootstrapServers = bootstrapServers;
    this.#embedded = embedded;
    this.#faults = embedded === undefined ? undefined : new BrokerFaults(embedded);
  }

  /** @throws Error where Kafka is not the embedded broker */
  get faults(): BrokerFaults {
    if (this.#faults === undefined) throw new Error("only the embedded broker takes faults");
    return this.#faults;
  }

  /** @returns a name that no other test uses */
  async createTopic(partitions: number): Promise<string> {
    const topic = `test-${crypto.randomUUID()}`;
    this.#embedded?.createTopic({ name: topic, partitions });
    await this.ensureTopic(topic, partitions);
    return topic;
  }

  async ensureTopic(topic: string, partitions: number): Promise<void> {
    await ensureTopics({
      settings: this.adminSettings(),
      topics: [topic],
      partitions,
      replicationFactor: 1,
      deadlineMs: TOPIC_DEADLINE_MS,
    });
  }

  /** Deletes a topic and creates it again. */
  async recreateTopic(topic: string, partitions: number): Promise<void> {
    await this.deleteTopic(topic);
    await this.ensureTopic(topic, partitions);
  }

  async deleteTopic(topic: string): Promise<void> {
    await deleteTopics(this.adminSettings(), [topic], TOPIC_DEADLINE_MS);
    await eventually("the topic is gone", async () => {
      const [found] = await this.describeTopics([topic]);
      return found?.errorCode === ErrorCode.unknownTopicOrPartition;
    });
  }

  async describeTopics(topics: readonly string[]): Promise<TopicDescription[]> {
    const admin = await AdminClient.open(this.adminSettings());
    try {
      return await admin.describeTopics(topics, REQUEST_TIMEOUT_MS);
    } finally {
      admin.close();
    }
  }

  consumerSettings(group: string, passThrough: Settings = {}): Settings {
    const all = { ...(this.#embedded ? EMBEDDED_CONSUMER_SETTINGS : REAL_SETTINGS), ...passThrough };
    if (all["group.protocol"] === "consumer") {
      delete all["session.timeout.ms"];
      delete all["heartbeat.interval.ms"];
    }
    return consumerSettings(this.#config(group, all));
  }

  producerSettings(passThrough: Settings = {}): Settings {
    return producerSettings(this.#config("", passThrough));
  }

  adminSettings(passThrough: Settings = {}): Settings {
    return adminSettings(this.#config("", passThrough));
  }

  #config(consumerGroup: string, passThrough: Settings) {
    return { bootstrapServers: this.bootstrapServers, consumerGroup, passThrough };
  }
}

/** For quick rebalances; 6 s is the shortest session that a broker allows by default. */
const REAL_SETTINGS: Record<string, string> = {
  "session.timeout.ms": "6000",
  "heartbeat.interval.ms": "500",
  // A partition that is moved waits for the response to its last fetch.
  "fetch.wait.max.ms": "50",
};

type Run = (kafka: KafkaUnderTest) => Promise<void>;

/** Registers a test against a new embedded broker. */
export function onEmbedded(name: string, run: Run, brokers = 1): void {
  test(
    `${name} (embedded)`,
    async () => {
      await using broker = await EmbeddedBroker.start({ brokers, topics: [] });
      await run(new KafkaUnderTest(broker.bootstrapServers, broker));
    },
    EMBEDDED_TEST_TIMEOUT_MS,
  );
}

/** Registers a test against a real Kafka that other tests use too. */
export function onKafka(name: string, run: Run, timeoutMs = REAL_TEST_TIMEOUT_MS): void {
  kafkaTest(
    `${name} (Kafka)`,
    async () => run(new KafkaUnderTest((await sharedKafka()).bootstrapServers)),
    timeoutMs,
  );
}

export function onBoth(name: string, run: Run): void {
  onEmbedded(name, run);
  onKafka(name, run);
}
