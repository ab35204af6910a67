// Describes and creates topics, and reads offsets, as a client outside of any group.
import type { TopicPartition } from "../event.ts";
import { AdminRequests } from "./admin-requests.ts";
import { groupOperations, type Operation, topicOperations } from "./authorized-operations.ts";
import { Client, type ErrorReport, type Settings } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { AdminOperation, EventType } from "./ffi/bindings.ts";
import { type Pointer, pointer } from "./ffi/memory.ts";
import { describeGroup, type GroupDescription } from "./group-description.ts";
import { listOffsets, type LogPlace } from "./list-offsets.ts";
import { QueueEvents } from "./queue-events.ts";
import { describeTopics, type TopicDescription } from "./topic-description.ts";

export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** The topic's own settings, such as `retention.ms`. */
  readonly settings?: Settings | undefined;
}

/** The result for one topic; errorCode 0 is success. */
export interface TopicResult {
  readonly topic: string;
  readonly errorCode: number;
  readonly error: string;
}

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

const TOPIC_RESOURCE = 2;

/** A short-lived client for admin requests, each with its own timeout. */
export class AdminClient {
  /** The last error of the client itself, such as a broker that cannot be reached. */
  lastError: ErrorReport | undefined;
  readonly #client: Client;
  readonly #queue: Pointer;
  readonly #requests: AdminRequests;
  #wake: QueueEvents | undefined;

  private constructor(client: Client) {
    this.#client = client;
    this.#queue = pointer(client.library.c.rd_kafka_queue_get_main(client.handle), "main queue");
    this.#requests = new AdminRequests(client);
  }

  /** @throws ConfigurationError for settings that librdkafka refuses */
  static async open(settings: Settings): Promise<AdminClient> {
    const client = Client.create("producer", settings, 0);
    const admin = new AdminClient(client);
    const wake = await QueueEvents.open(client.library, () => admin.#poll());
    wake.watch(admin.#queue);
    wake.watch(admin.#requests.queue);
    admin.#wake = wake;
    return admin;
  }

  /** @returns the addresses under which the brokers that are up want to be reached */
  brokers(timeoutMs: number): Promise<BrokerAddress[]> {
    const { library, handle } = this.#client;
    const { c } = library;
    return this.#requests.send({
      what: "the brokers cannot be listed",
      operation: AdminOperation.describeCluster,
      timeoutMs,
      send: (options, queue) => c.rd_kafka_DescribeCluster(handle, options, queue),
      read: (event) =>
        library.pointers(c.rd_kafka_DescribeCluster_result_nodes, event).map((at) => ({
          host: c.rd_kafka_Node_host(at) ?? "",
          port: c.rd_kafka_Node_port(at),
        })),
    });
  }

  /** See `topicOperations` of authorized-operations.ts. */
  topicOperations(topic: string, timeoutMs: number): Promise<Operation[] | undefined> {
    return topicOperations(this.#client, this.#requests, topic, timeoutMs);
  }

  /** See `groupOperations` of authorized-operations.ts. */
  groupOperations(group: string, timeoutMs: number): Promise<Operation[] | undefined> {
    return groupOperations(this.#client, this.#requests, group, timeoutMs);
  }

  /** See `describeTopics` of topic-description.ts. @throws KafkaError when no broker answers */
  describeTopics(topics: readonly string[], timeoutMs: number): Promise<TopicDescription[]> {
    return describeTopics(this.#client, this.#requests, topics, timeoutMs);
  }

  /** See `describeGroup` of group-description.ts. @throws KafkaError when no broker answers */
  describeGroup(group: string, timeoutMs: number): Promise<GroupDescription> {
    return describeGroup(this.#client, this.#requests, group, timeoutMs);
  }

  /** See `listOffsets` of list-offsets.ts. @throws KafkaError when no broker answers */
  listOffsets(
    partitions: readonly TopicPartition[],
    place: LogPlace,
    timeoutMs: number,
  ): Promise<(number | undefined)[]> {
    return listOffsets(this.#client, this.#requests, partitions, place, timeoutMs);
  }

  /** @throws KafkaError when librdkafka or the cluster refuses the request as a whole */
  createTopics(
    topics: readonly NewTopic[],
    timeoutMs: number,
    { validateOnly = false } = {},
  ): Promise<TopicResult[]> {
    const { library, handle } = this.#client;
    const { c } = library;
    return this.#requests.send({
      what: "topics cannot be created",
      operation: AdminOperation.createTopics,
      validateOnly,
      timeoutMs,
      send: (options, queue) => {
        const made: Pointer[] = [];
        try {
          for (const topic of topics) made.push(this.#newTopic(topic));
          c.rd_kafka_CreateTopics(handle, library.array(made), made.length, options, queue);
        } finally {
          for (const at of made) c.rd_kafka_NewTopic_destroy(at);
        }
      },
      read: (event) => this.#topicResults(library.pointers(c.rd_kafka_CreateTopics_result_topics, event)),
    });
  }

  /**
   * @returns one setting of a topic as the broker applies it
   * @throws KafkaError when the broker does not tell: no such setting, or this user may not read it
   */
  topicSetting(topic: string, setting: string, timeoutMs: number): Promise<string> {
    const { library, handle } = this.#client;
    const { c } = library;
    return this.#requests.send({
      what: `${setting} of ${topic} cannot be read`,
      operation: AdminOperation.describeConfigs,
      timeoutMs,
      send: (options, queue) => {
        const resource = pointer(c.rd_kafka_ConfigResource_new(TOPIC_RESOURCE, topic), "ConfigResource");
        c.rd_kafka_DescribeConfigs(handle, library.array([resource]), 1, options, queue);
        c.rd_kafka_ConfigResource_destroy(resource);
      },
      read: (event) => {
        const [resource] = library.pointers(c.rd_kafka_DescribeConfigs_result_resources, event);
        if (resource === undefined) throw library.error(ErrorCode.invalidArgument, `${topic}: no answer`);
        library.check(c.rd_kafka_ConfigResource_error(resource), `${setting} of ${topic} cannot be read`);
        const entries = library.pointers(c.rd_kafka_ConfigResource_configs, resource);
        const entry = entries.find((at) => c.rd_kafka_ConfigEntry_name(at) === setting);
        const value = entry === undefined ? null : c.rd_kafka_ConfigEntry_value(entry);
        if (value === null) throw library.error(ErrorCode.invalidArgument, `${topic} has no ${setting}`);
        return value;
      },
    });
  }

  close(): void {
    this.#wake?.close();
    this.#requests.close("the client was closed");
    this.#poll();
    this.#client.library.c.rd_kafka_queue_destroy(this.#queue);
    this.#client.destroy();
  }

  #poll(): void {
    this.#requests.poll();
    const { library } = this.#client;
    for (;;) {
      const event = library.nextEvent(this.#queue);
      if (event === undefined) return;
      if (library.c.rd_kafka_event_type(event) === EventType.error) {
        const error = this.#client.readError(event);
        // _ALL_BROKERS_DOWN follows the errors that say why, and adds nothing to them.
        if (error.code !== ErrorCode.allBrokersDown || this.lastError === undefined) this.lastError = error;
      }
      library.c.rd_kafka_event_destroy(event);
    }
  }

  #newTopic({ topic, partitions, replicationFactor, settings = {} }: NewTopic): Pointer {
    const { library } = this.#client;
    const { c, errorBuffer: buffer } = library;
    const made = c.rd_kafka_NewTopic_new(topic, partitions, replicationFactor, buffer, buffer.length);
    if (!made) throw library.error(ErrorCode.invalidArgument, `topic ${topic}: ${library.errorText}`);
    const at = pointer(made, "NewTopic");
    for (const [name, value] of Object.entries(settings)) {
      library.check(c.rd_kafka_NewTopic_set_config(at, name, value), `topic ${topic}: ${name}`);
    }
    return at;
  }

  #topicResults(results: readonly Pointer[]): TopicResult[] {
    const { library } = this.#client;
    const { c } = library;
    return results.map((at) => {
      const errorCode = c.rd_kafka_topic_result_error(at);
      const error = c.rd_kafka_topic_result_error_string(at) ?? library.describe(errorCode);
      return { topic: c.rd_kafka_topic_result_name(at) ?? "", errorCode, error };
    });
  }
}
