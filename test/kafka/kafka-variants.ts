// A test in; the same test against the embedded broker and against a real Kafka out.
import { test } from "bun:test";
import { deleteTopics, describeTopics, ensureTopics } from "../../shared/kafka/admin.ts";
import type { Settings } from "../../shared/kafka/client.ts";
import { EMBEDDED_CONSUMER_SETTINGS, EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings, consumerSettings, producerSettings } from "../../shared/kafka/settings.ts";
import { eventually } from "../support/eventually.ts";
import { kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";

const EMBEDDED_TEST_TIMEOUT_MS = 30_000;
const REAL_TEST_TIMEOUT_MS = 60_000;
const TOPIC_DEADLINE_MS = 30_000;
const UNKNOWN_TOPIC_OR_PARTITION = 3;

export const { path: libraryPath } = await prepareNativeLibrary(() => {});

/** A Kafka that a test may use, and how its clients are set up. */
export class KafkaUnderTest {
  readonly bootstrapServers: string;
  /** The embedded broker, where it is one: for faults. */
  readonly embedded: EmbeddedBroker | undefined;

  constructor(bootstrapServers: string, embedded?: EmbeddedBroker) {
    this.bootstrapServers = bootstrapServers;
    this.embedded = embedded;
  }

  /** @returns a name that no other test uses */
  async createTopic(partitions: number): Promise<string> {
    const topic = `test-${crypto.randomUUID()}`;
    if (this.embedded) this.embedded.createTopic({ name: topic, partitions });
    await this.#ensureTopic(topic, partitions);
    return topic;
  }

  /** Deletes a topic and makes it anew. */
  async recreateTopic(topic: string, partitions: number): Promise<void> {
    const settings = this.adminSettings();
    await deleteTopics({ settings, topics: [topic], deadlineMs: TOPIC_DEADLINE_MS });
    await eventually("the topic is gone", async () => {
      const [found] = await describeTopics({ settings, topics: [topic], deadlineMs: 5000 });
      return found?.errorCode === UNKNOWN_TOPIC_OR_PARTITION;
    });
    await this.#ensureTopic(topic, partitions);
  }

  consumerSettings(group: string, passThrough: Settings = {}): Settings {
    const all = { ...(this.embedded ? EMBEDDED_CONSUMER_SETTINGS : REAL_SETTINGS), ...passThrough };
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

  async #ensureTopic(topic: string, partitions: number): Promise<void> {
    await ensureTopics({
      settings: this.adminSettings(),
      topics: [topic],
      partitions,
      replicationFactor: 1,
      deadlineMs: TOPIC_DEADLINE_MS,
    });
  }

  #config(consumerGroup: string, passThrough: Settings) {
    return { bootstrapServers: this.bootstrapServers, consumerGroup, passThrough };
  }
}

/** Quick handovers; 6 s is the least that a broker allows for a session by default. */
const REAL_SETTINGS: Record<string, string> = {
  "session.timeout.ms": "6000",
  "heartbeat.interval.ms": "500",
  // A partition that is moved waits for the answer to the last fetch.
  "fetch.wait.max.ms": "50",
};

type Run = (kafka: KafkaUnderTest) => Promise<void>;

/** Registers a test against the embedded broker: a new one, with one node. */
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

/** Registers a test against a real Kafka, which other tests use too. */
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
