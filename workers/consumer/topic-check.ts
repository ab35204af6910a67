// Makes sure that records belong to the topic under whose id they are stored: one that is created again keeps its name.

import type { Batch } from "../../shared/pipeline/batch.ts";
import { ResyncNeeded } from "./failure.ts";
import type { KafkaPort } from "./ports.ts";

/** What a worker does where the topic of its partitions has another id. */
export function topicChanged(topic: string, before: string, now: string): ResyncNeeded {
  return new ResyncNeeded(
    "topic_changed",
    `topic ${topic} was deleted and created again (id ${before}, now ${now}); reading it from its beginning`,
  );
}

/**
 * Asks for the ids of a batch's topics. librdkafka goes on reading a topic that was created again, at the same offset
 * and without a word. An id never comes back, so where it is still the same, all records of the batch are of that topic.
 * The same holds for a topic that is missing now.
 *
 * @throws ResyncNeeded where a topic was created again; KafkaError where no broker answers
 */
export async function assertSameTopics(kafka: Pick<KafkaPort, "topicIds">, { spans }: Batch): Promise<void> {
  const topics = new Set([...spans.values()].map(({ topic }) => topic));
  const topicIds = await kafka.topicIds([...topics]);
  for (const { topic, topicId } of spans.values()) {
    const now = topicIds.get(topic) ?? topicId;
    if (now !== topicId) throw topicChanged(topic, topicId, now);
  }
}
