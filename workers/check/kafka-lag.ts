// Stored offsets in; how many records Kafka holds beyond each, or why that is not known, out.

import { adminSettings } from "../../shared/kafka/settings.ts";
import { Client } from "../../shared/kafka/client.ts";
import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { listOffsets } from "../../shared/kafka/list-offsets.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { AdminRequests } from "../../shared/kafka/admin-requests.ts";
import { AdminOperation, ErrorCode } from "../../shared/kafka/ffi/bindings.ts";
import { readTopicDescriptions, requestTopicDescriptions } from "../../shared/kafka/topic-description.ts";
import type { KafkaConfig } from "../../shared/config/config.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { LagReader } from "../../shared/store/check/check.ts";
import type { StoredOffset } from "../../shared/store/offsets.ts";

type Connection = Pick<KafkaConfig, "bootstrapServers" | "consumerGroup" | "passThrough">;

const DEADLINE_MS = 2000;
const POLL_MS = 5;

const AWAY: ReadonlySet<number> = new Set([ErrorCode.timedOut, ErrorCode.allBrokersDown]);

/**
 * Asks Kafka for the stable ends of partitions, for about 2 s at most. It is in no group and changes nothing.
 * @param say takes lines about the native library, where it has to be built
 */
export function kafkaLag(kafka: Connection, say: (line: string) => void): LagReader {
  return async (partitions) => {
    if (partitions.length === 0) return [];
    try {
      await prepareNativeLibrary(say);
      return await readLags(kafka, partitions);
    } catch (error) {
      const isAway = error instanceof KafkaError && AWAY.has(error.code);
      const problem = isAway ? "Kafka does not answer" : errorMessage(error);
      return partitions.map(() => problem);
    }
  };
}

async function readLags(
  kafka: Connection,
  partitions: readonly StoredOffset[],
): Promise<(number | string)[]> {
  const questions = new Questions(kafka);
  try {
    const topicIds = await questions.topicIds([...new Set(partitions.map(({ topic }) => topic))]);
    const current = partitions.filter(({ topic, topicId }) => topicIds.get(topic) === topicId);
    const ends = await questions.stableEnds(current);
    return partitions.map((partition) => {
      const { topic, topicId, nextOffset } = partition;
      const knownId = topicIds.get(topic);
      if (knownId === undefined) return "no such topic";
      if (knownId !== topicId) return "an earlier topic of this name";
      const end = ends[current.indexOf(partition)];
      return end === undefined ? "Kafka does not say" : Math.max(0, end - nextOffset);
    });
  } finally {
    questions.close();
  }
}

/** One short-lived client. Its own log and errors are of no interest: the answers say what matters. */
class Questions {
  readonly #client: Client;
  readonly #requests: AdminRequests;
  readonly #timer: Timer;
  readonly #deadline = performance.now() + DEADLINE_MS;

  constructor(kafka: Connection) {
    this.#client = Client.create("producer", adminSettings(kafka), 0);
    this.#requests = new AdminRequests(this.#client);
    this.#timer = setInterval(() => this.#requests.poll(), POLL_MS);
  }

  /** The ids of the topics that exist. */
  async topicIds(topics: readonly string[]): Promise<Map<string, string>> {
    const descriptions = await this.#requests.send({
      what: "the topics cannot be described",
      operation: AdminOperation.describeTopics,
      timeoutMs: this.#leftMs(),
      send: (options, queue) => requestTopicDescriptions(this.#client, topics, options, queue),
      read: (event) => readTopicDescriptions(this.#client.library, event),
    });
    return new Map(
      descriptions.flatMap(({ topic, topicId }) => (topicId === undefined ? [] : [[topic, topicId]])),
    );
  }

  /** In the order of the partitions; undefined where a broker gave an error. */
  stableEnds(partitions: readonly StoredOffset[]): Promise<(number | undefined)[]> {
    return listOffsets(this.#client, this.#requests, partitions, "end", this.#leftMs());
  }

  close(): void {
    clearInterval(this.#timer);
    this.#requests.close("the client was closed");
    this.#client.destroy();
  }

  #leftMs(): number {
    return Math.max(1, Math.round(this.#deadline - performance.now()));
  }
}
