// Asks Kafka where its partitions lie, who leads them, and where their logs begin and end, while brokers come and go.
import type { TopicPartition } from "../../../shared/event.ts";
import { AdminClient } from "../../../shared/kafka/admin-client.ts";
import { eventually } from "../../support/eventually.ts";
import type { KafkaCluster } from "../../support/kafka.ts";
import { GROUP } from "./database.ts";
import { type ReplicaPlaces, replicaPlaces } from "./replica-places.ts";

const REQUEST_TIMEOUT_MS = 5000;
/** A broker rejoins its replicas within seconds of its start. */
const IN_SYNC_DEADLINE_MS = 90_000;

/** Each question is asked again until a broker answers it. */
export class KafkaInquiry implements Disposable {
  readonly #kafka: KafkaCluster;
  readonly #topics: readonly string[];
  #admin: AdminClient | undefined;

  constructor(kafka: KafkaCluster, topics: readonly string[]) {
    this.#kafka = kafka;
    this.#topics = topics;
  }

  [Symbol.dispose](): void {
    this.#admin?.close();
  }

  /** Where each partition of the topics lies. */
  places(topics: readonly string[] = this.#topics): Promise<ReplicaPlaces[]> {
    // Without a controller, for seconds, nothing is described.
    return eventually(
      "Kafka describes its topics",
      () => replicaPlaces(this.#settings, topics, REQUEST_TIMEOUT_MS),
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** Waits until every replica of every topic is in sync, so that the next broker may go. */
  async allInSync(): Promise<void> {
    await eventually(
      "all replicas are in sync",
      async () => {
        const places = await this.places([...this.#topics, "__consumer_offsets"]);
        return places.every(
          ({ leader, replicas, inSync }) => leader !== undefined && inSync.length === replicas.length,
        );
      },
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** The broker that coordinates the group, by its index. */
  async coordinator(): Promise<number> {
    const places = await this.places(["__consumer_offsets"]);
    const number = Math.abs(javaHash(GROUP)) % places.length;
    return brokerIndex(places.find(({ partition }) => partition === number)?.leader);
  }

  /** The active controller, by its index. */
  async controller(): Promise<number> {
    const status = await this.#kafka.tool("org.apache.kafka.tools.MetadataQuorumCommand", [
      "describe",
      "--status",
    ]);
    return brokerIndex(Number(/LeaderId:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN));
  }

  /** The ids of the topics; "" for one that is missing. */
  async topicIds(): Promise<ReadonlyMap<string, string>> {
    const found = await eventually(
      "Kafka describes its topics",
      () => this.#askAdmin((admin) => admin.describeTopics([...this.#topics], REQUEST_TIMEOUT_MS)),
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
    return new Map(found.map(({ topic, topicId }) => [topic, topicId ?? ""]));
  }

  /** The ends of partitions as a read_committed reader sees them. @throws Error when no leader answers for a while */
  ends(partitions: readonly TopicPartition[]): Promise<number[]> {
    return this.#offsets(partitions, "end");
  }

  /** Where the logs of partitions begin. @throws Error when no leader answers for a while */
  beginnings(partitions: readonly TopicPartition[]): Promise<number[]> {
    return this.#offsets(partitions, "beginning");
  }

  #offsets(partitions: readonly TopicPartition[], which: "beginning" | "end"): Promise<number[]> {
    return eventually(
      `Kafka knows each ${which}`,
      async () => {
        const ask = async (admin: AdminClient) => {
          const found = await admin.listOffsets(partitions, which, REQUEST_TIMEOUT_MS);
          return found.map((offset, index) => {
            const { topic, partition } = partitions[index]!;
            if (offset === undefined) throw new Error(`not of ${topic} [${partition}]`);
            return offset;
          });
        };
        return this.#askAdmin(ask);
      },
      { timeoutMs: IN_SYNC_DEADLINE_MS, everyMs: 200 },
    );
  }

  /** A client that has asked in vain goes: it would ask the leaders that it knows, also dead ones, for many minutes. */
  async #askAdmin<T>(question: (admin: AdminClient) => Promise<T>): Promise<T> {
    const admin = (this.#admin ??= await AdminClient.open(this.#settings));
    try {
      return await question(admin);
    } catch (error) {
      if (this.#admin === admin) {
        this.#admin = undefined;
        admin.close();
      }
      throw error;
    }
  }

  get #settings() {
    return { "bootstrap.servers": this.#kafka.bootstrapServers, "reconnect.backoff.max.ms": "1000" };
  }
}

/** Node ids are indices plus one. */
export function brokerIndex(nodeId: number | undefined): number {
  if (nodeId === undefined || Number.isNaN(nodeId)) throw new Error("there is no such broker");
  return nodeId - 1;
}

/** String.hashCode of Java, by which a group is placed. */
function javaHash(text: string): number {
  let hash = 0;
  for (const character of text) hash = (Math.imul(31, hash) + character.charCodeAt(0)) | 0;
  return hash;
}
