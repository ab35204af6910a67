// Reads what the brokers know about topics.
import type { Client } from "./client.ts";
import type { AdminRequests } from "./admin-requests.ts";
import { ErrorCode } from "./error-codes.ts";
import { AdminOperation } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { isNull, type Pointer, pointer } from "./ffi/memory.ts";

export interface TopicPartitionDescription {
  readonly partition: number;
  /** False while the partition has no leader and cannot be read or written. */
  readonly hasLeader: boolean;
  /** The ids of the brokers that have it. */
  readonly replicas: readonly number[];
  readonly inSyncReplicas: number;
}

export interface TopicDescription {
  readonly topic: string;
  /** Base64url, 22 characters; new each time the topic is created. Undefined while the topic has none. */
  readonly topicId: string | undefined;
  /**
   * What stands for the id that a topic lacks, for now or because its brokers give none (before Kafka 2.8, Azure Event
   * Hubs): `cluster-` and the id of the cluster. With the name it tells the topic from all others at one time.
   */
  readonly standInId: string | undefined;
  readonly errorCode: number;
  readonly error: string | undefined;
  readonly partitions: readonly TopicPartitionDescription[];
}

/**
 * Asks about topics; the result is in no particular order. The owner of `requests` must poll them.
 * @param broker the id of the broker that is asked; default: the controller as librdkafka knows it, which may be one that
 *   is away
 * @throws KafkaError when no broker answers
 */
export function describeTopics(
  { library, handle }: Client,
  requests: AdminRequests,
  topics: readonly string[],
  timeoutMs: number,
  broker?: number,
): Promise<TopicDescription[]> {
  const { c } = library;
  return requests.send({
    what: `${topics.join(", ")} cannot be described`,
    operation: AdminOperation.describeTopics,
    timeoutMs,
    broker,
    send: (options, queue) =>
      library.withTexts(topics, (names) => {
        const collection = pointer(
          c.rd_kafka_TopicCollection_of_topic_names(names, topics.length),
          "rd_kafka_TopicCollection_of_topic_names",
        );
        c.rd_kafka_DescribeTopics(handle, collection, options, queue);
        c.rd_kafka_TopicCollection_destroy(collection);
      }),
    read: (event) =>
      library
        .pointers(c.rd_kafka_DescribeTopics_result_topics, event)
        .map((at) => withStandIn(readDescription(library, at), library.clusterId(handle))),
  });
}

/** The topic with what stands for its id where it has none. */
export function withIdentity(topic: TopicDescription): TopicDescription {
  return { ...topic, topicId: topic.topicId ?? topic.standInId };
}

function withStandIn(
  topic: Omit<TopicDescription, "standInId">,
  clusterId: string | undefined,
): TopicDescription {
  const isWithoutId = topic.errorCode === ErrorCode.none && topic.topicId === undefined;
  return { ...topic, standInId: isWithoutId && clusterId !== undefined ? `cluster-${clusterId}` : undefined };
}

function readDescription(library: Library, at: Pointer): Omit<TopicDescription, "standInId"> {
  const { c } = library;
  const failed = c.rd_kafka_TopicDescription_error(at); // freed with the event
  const error = isNull(failed) ? undefined : pointer(failed, "topic error");
  const errorCode = error === undefined ? ErrorCode.none : c.rd_kafka_error_code(error);
  return {
    topic: c.rd_kafka_TopicDescription_name(at) ?? "",
    topicId: errorCode === ErrorCode.none ? readTopicId(library, at) : undefined,
    errorCode,
    error:
      error === undefined || errorCode === ErrorCode.none
        ? undefined
        : (c.rd_kafka_error_string(error) ?? library.errorName(errorCode)),
    partitions: library.pointers(c.rd_kafka_TopicDescription_partitions, at).map((partition) => ({
      partition: c.rd_kafka_TopicPartitionInfo_partition(partition),
      hasLeader: !isNull(c.rd_kafka_TopicPartitionInfo_leader(partition)),
      replicas: library
        .pointers(c.rd_kafka_TopicPartitionInfo_replicas, partition)
        .map((node) => c.rd_kafka_Node_id(node)),
      inSyncReplicas: library.pointers(c.rd_kafka_TopicPartitionInfo_isr, partition).length,
    })),
  };
}

function readTopicId({ c }: Library, description: Pointer): string | undefined {
  const id = c.rd_kafka_TopicDescription_topic_id(description);
  if (isNull(id)) return undefined;
  // librdkafka writes it as text only when built with OpenSSL.
  const at = pointer(id, "topic id");
  const high = c.rd_kafka_Uuid_most_significant_bits(at);
  const low = c.rd_kafka_Uuid_least_significant_bits(at);
  if (high === 0n && low === 0n) return undefined;
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64BE(high, 0);
  bytes.writeBigInt64BE(low, 8);
  return bytes.toString("base64url");
}
