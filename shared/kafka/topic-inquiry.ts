// Asks brokers about topics, one after the other until one answers.
import type { AdminRequests } from "./admin-requests.ts";
import type { Client } from "./client.ts";
import { describeTopics, type TopicDescription } from "./topic-description.ts";

/** Three brokers are asked within what one request may take. */
const ATTEMPT_MS = 1600;
const ATTEMPTS = 3;
/** Which broker that is, librdkafka decides. */
const CONTROLLER = undefined;

type Broker = number | typeof CONTROLLER;

/**
 * Describes topics as often as for every batch, so that no single broker may hold up the answer. librdkafka asks the
 * controller as it knows it, and goes on asking one that has died until it happens to read the cluster's metadata again.
 */
export class TopicInquiry {
  readonly #client: Client;
  readonly #requests: AdminRequests;
  /** The ids of the brokers that have the topics. */
  #brokers: readonly number[] = [];
  /** Those that have not answered lately. */
  readonly #silent = new Set<Broker>();

  /** @param requests of the client, polled by their owner */
  constructor(client: Client, requests: AdminRequests) {
    this.#client = client;
    this.#requests = requests;
  }

  /**
   * See `describeTopics`.
   * @param likely the id of a broker that is likely to answer, such as one that has just delivered records
   * @throws KafkaError when no broker answers
   */
  async describe(topics: readonly string[], likely: number | undefined): Promise<TopicDescription[]> {
    const brokers = [
      ...new Set<Broker>([
        ...(likely === undefined ? this.#brokers : [likely, ...this.#brokers]),
        CONTROLLER,
      ]),
    ];
    const order = brokers.toSorted((a, b) => Number(this.#silent.has(a)) - Number(this.#silent.has(b)));
    for (let attempt = 0; ; attempt++) {
      const broker = order[attempt % order.length];
      try {
        const found = await describeTopics(this.#client, this.#requests, topics, ATTEMPT_MS, broker);
        this.#silent.delete(broker);
        this.#brokers = brokersOf(found) ?? this.#brokers;
        return found;
      } catch (error) {
        this.#silent.add(broker);
        if (attempt + 1 === ATTEMPTS) throw error;
      }
    }
  }
}

function brokersOf(topics: readonly TopicDescription[]): number[] | undefined {
  const brokers = new Set(topics.flatMap(({ partitions }) => partitions.flatMap(({ replicas }) => replicas)));
  return brokers.size === 0 ? undefined : [...brokers];
}
