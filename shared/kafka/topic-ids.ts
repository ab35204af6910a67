// Finds the ids of topics, and notices a topic that was created again.
import type { TopicInquiry } from "./topic-inquiry.ts";

export interface TopicIdOptions {
  /** Those whose brokers give topics no ids: their name and the id of their cluster stand for it. */
  readonly topicsWithoutId?: readonly string[];
  /**
   * Called where another id is found than before: the topic was deleted and created again. librdkafka takes what
   * brokers say of the new topic's leaders for outdated where the old topic's leader epoch was greater
   * (rd_kafka_toppar_leader_update), so this client may never fetch it: another one has to be opened.
   */
  readonly onTopicRecreated?: (topic: string) => void;
}

export class TopicIds {
  readonly #inquiry: TopicInquiry;
  readonly #topicsWithoutId: readonly string[];
  readonly #onTopicRecreated: (topic: string) => void;
  /** The first id of each topic that was found. */
  readonly #firstIds = new Map<string, string>();

  constructor(
    inquiry: TopicInquiry,
    { topicsWithoutId = [], onTopicRecreated = () => undefined }: TopicIdOptions,
  ) {
    this.#inquiry = inquiry;
    this.#topicsWithoutId = topicsWithoutId;
    this.#onTopicRecreated = onTopicRecreated;
  }

  /**
   * The ids of the topics that have one.
   * @param likely see `TopicInquiry.describe`
   * @throws KafkaError when no broker answers
   */
  async of(topics: readonly string[], likely: number | undefined): Promise<Map<string, string>> {
    if (topics.length === 0) return new Map();
    const found = await this.#inquiry.describe(topics, likely);
    const ids = found.map(({ topic, topicId, standInId }): [string, string | undefined] => [
      topic,
      topicId ?? (this.#topicsWithoutId.includes(topic) ? standInId : undefined),
    ]);
    const known = new Map(ids.flatMap(([topic, id]) => (id === undefined ? [] : [[topic, id]])));
    for (const [topic, id] of known) this.#noteId(topic, id);
    return known;
  }

  #noteId(topic: string, id: string): void {
    const first = this.#firstIds.get(topic);
    if (first === undefined) this.#firstIds.set(topic, id);
    else if (first !== id) this.#onTopicRecreated(topic);
  }
}
