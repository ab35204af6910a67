// Reads how many records Kafka holds beyond each stored offset, or why that is not known.

import type { KafkaConfig } from "../../shared/config/config.ts";
import { AdminClient } from "../../shared/kafka/admin-client.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { LagReader } from "../../shared/store/check/check.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";

type Connection = Pick<KafkaConfig, "bootstrapServers" | "consumerGroup" | "passThrough">;

const DEADLINE_MS = 2000;

/**
 * Asks Kafka for the stable ends of partitions, for about 2 s at most. It joins no group and changes nothing.
 * @param say takes lines about the native library, where it has to be built
 */
export function kafkaLag(kafka: Connection, say: (line: string) => void): LagReader {
  return async (partitions) => {
    if (partitions.length === 0) return [];
    try {
      await prepareNativeLibrary(say);
      return await readLags(kafka, partitions);
    } catch (error) {
      const isAway = error instanceof KafkaError && error.kind === "retryable";
      const problem = (isAway ? error.meaning : undefined) ?? errorMessage(error);
      return partitions.map(() => problem);
    }
  };
}

async function readLags(
  kafka: Connection,
  partitions: readonly StoredOffset[],
): Promise<(number | string)[]> {
  const deadline = performance.now() + DEADLINE_MS;
  const leftMs = () => Math.max(1, Math.round(deadline - performance.now()));
  const admin = await AdminClient.open(adminSettings(kafka));
  try {
    const topics = [...new Set(partitions.map(({ topic }) => topic))];
    const descriptions = await admin.describeTopics(topics, leftMs());
    const topicIds = new Map(descriptions.map(({ topic, topicId }) => [topic, topicId]));
    const current = partitions.filter(({ topic, topicId }) => topicIds.get(topic) === topicId);
    const ends = await admin.listOffsets(current, "end", leftMs());
    return partitions.map((partition) => {
      const { topic, topicId, nextOffset } = partition;
      const currentId = topicIds.get(topic);
      if (currentId === undefined) return "no such topic";
      if (currentId !== topicId) return "an earlier topic of this name";
      const end = ends[current.indexOf(partition)];
      return end === undefined ? "Kafka does not say" : Math.max(0, end - nextOffset);
    });
  } finally {
    admin.close();
  }
}
