// Gives tests the Kafka they share: the broker of the run, or the one that KAFKA_BOOTSTRAP_SERVERS names.
import { whyNoKafka } from "./kafka-artifacts.ts";
import { sharedServer } from "./shared-servers.ts";
import { type TopicOptions, createTopic } from "./topics.ts";

/** What a test may do with a Kafka that it shares: create topics, nothing else. */
export interface SharedKafka {
  readonly bootstrapServers: string;
  /** Creates a topic under a name that no other test uses. @returns the name */
  createTopic(options?: TopicOptions): Promise<string>;
}

let shared: Promise<SharedKafka> | undefined;

/** Why there is no shared Kafka, in words; undefined where there is one. */
export function whyNoSharedKafka(): string | undefined {
  const reason = whyNoKafka();
  if (reason === undefined || process.env["KAFKA_BOOTSTRAP_SERVERS"]) return undefined;
  return `${reason}, and KAFKA_BOOTSTRAP_SERVERS is not set`;
}

/** The shared Kafka. */
export function sharedKafka(): Promise<SharedKafka> {
  shared ??= findShared();
  return shared;
}

async function findShared(): Promise<SharedKafka> {
  // A separate broker where one can be started: `.env` may name the developer's Kafka, which is not for tests.
  const { bootstrapServers } =
    whyNoKafka() === undefined
      ? await sharedServer("kafka")
      : { bootstrapServers: process.env["KAFKA_BOOTSTRAP_SERVERS"]! };
  return {
    bootstrapServers,
    async createTopic(options) {
      const name = `test-${crypto.randomUUID()}`;
      await createTopic(bootstrapServers, name, options);
      return name;
    },
  };
}
