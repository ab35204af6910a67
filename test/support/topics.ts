// Creates and deletes topics with the programs' own admin client.
import { ensureTopics } from "../../shared/kafka/admin.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { deleteTopics } from "./delete-topics.ts";

const DEADLINE_MS = 30_000;

export interface TopicOptions {
  /** Default 1. */
  partitions?: number;
  /** Default: as many as there are brokers, at most 3. */
  replicationFactor?: number;
  /** Topic properties, such as `{ "min.insync.replicas": "2" }`. */
  properties?: Readonly<Record<string, string>>;
}

/**
 * Creates a topic and waits until its partitions have leaders.
 * @throws FatalError when the cluster refuses it, or does not answer
 */
export async function createTopic(
  bootstrapServers: string,
  name: string,
  { partitions = 1, replicationFactor, properties = {} }: TopicOptions = {},
): Promise<void> {
  await prepareNativeLibrary(() => {});
  await ensureTopics({
    settings: { "bootstrap.servers": bootstrapServers },
    topics: [name],
    deadlineMs: DEADLINE_MS,
    partitions,
    replicationFactor,
    topicSettings: properties,
  });
}

/** Deletes a topic with its records. One created again under the name has another id. */
export async function deleteTopic(bootstrapServers: string, name: string): Promise<void> {
  await deleteTopics({ "bootstrap.servers": bootstrapServers }, [name], DEADLINE_MS);
}
