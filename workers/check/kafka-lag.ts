// Reads how many records Kafka holds beyond each stored offset and in partitions without one, or why that is not known.

import type { KafkaConfig } from "../../shared/config/config.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { type TopicDescription, withIdentity } from "../../shared/kafka/topic-description.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { KafkaLags, LagReader } from "../../shared/store/check/check.ts";
import type { UnreadPartition } from "../../shared/store/check/report.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";

type Connection = Pick<KafkaConfig, "bootstrapServers" | "topics" | "consumerGroup" | "passThrough">;

const DEADLINE_MS = 2000;

/**
 * Asks Kafka for the stable ends of partitions, for about 2 s at most. It joins no group and changes nothing.
 * @param say takes lines about the native library, where it has to be built
 */
export function kafkaLag(kafka: Connection, say: (line: string) => void): LagReader {
  return async (partitions) => {
    try {
      await prepareNativeLibrary(say);
      return await readLags(kafka, partitions);
    } catch (error) {
      const isAway = error instanceof KafkaError && error.kind === "retryable";
      const problem = (isAway ? error.meaning : undefined) ?? errorMessage(error);
      return { lags: partitions.map(() => problem), unread: undefined };
    }
  };
}

async function readLags(kafka: Connection, partitions: readonly StoredOffset[]): Promise<KafkaLags> {
  const deadline = performance.now() + DEADLINE_MS;
  const leftMs = () => Math.max(1, Math.round(deadline - performance.now()));
  const admin = await AdminClient.open(adminSettings(kafka));
  try {
    const topics = [...new Set([...kafka.topics, ...partitions.map(({ topic }) => topic)])];
    const descriptions = (await admin.describeTopics(topics, leftMs())).map(withIdentity);
    const topicIds = new Map(descriptions.map(({ topic, topicId }) => [topic, topicId]));
    const current = partitions.filter(({ topic, topicId }) => topicIds.get(topic) === topicId);
    const configured = descriptions.filter(({ topic }) => kafka.topics.includes(topic));
    const unread = unreadOf(configured, current);
    const ends = await admin.listOffsets([...current, ...unread], "end", leftMs());
    const beginnings = await admin.listOffsets(unread, "beginning", leftMs());
    return {
      lags: partitions.map((partition) => {
        const { topic, topicId, nextOffset } = partition;
        const currentId = topicIds.get(topic);
        if (currentId === undefined) return "no such topic";
        if (currentId !== topicId) return "an earlier topic of this name";
        const end = ends[current.indexOf(partition)];
        return end === undefined ? "Kafka does not say" : Math.max(0, end - nextOffset);
      }),
      unread: unread.map((partition, index) => {
        const end = ends[current.length + index];
        const beginning = beginnings[index];
        return {
          ...partition,
          records: end === undefined || beginning === undefined ? null : Math.max(0, end - beginning),
        };
      }),
    };
  } finally {
    admin.close();
  }
}

/** The partitions of topics that are not among the stored ones. */
function unreadOf(
  topics: readonly TopicDescription[],
  stored: readonly StoredOffset[],
): Omit<UnreadPartition, "records">[] {
  const known = new Set(stored.map(({ topic, partition }) => `${topic} ${partition}`));
  return topics
    .flatMap(({ topic, topicId, partitions }) =>
      topicId === undefined
        ? []
        : partitions.map(({ partition }) => ({ topic, topic_id: topicId, partition })),
    )
    .filter(({ topic, partition }) => !known.has(`${topic} ${partition}`))
    .toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}
