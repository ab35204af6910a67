// Asks which broker leads each partition, and which replicas are in sync.
import { dlopen } from "bun:ffi";
import { AdminRequests } from "../../../shared/kafka/admin-requests.ts";
import { Client, type Settings } from "../../../shared/kafka/client.ts";
import { AdminOperation } from "../../../shared/kafka/ffi/bindings.ts";
import { loadLibrary } from "../../../shared/kafka/ffi/load-library.ts";
import { isNull, type Pointer, pointer } from "../../../shared/kafka/ffi/memory.ts";

const POLL_MS = 5;

/** One partition and its brokers, by their node ids. */
export interface ReplicaPlaces {
  readonly topic: string;
  readonly partition: number;
  /** Undefined while the partition has none. */
  readonly leader: number | undefined;
  readonly replicas: readonly number[];
  readonly inSync: readonly number[];
}

function loadFunctions() {
  return dlopen(loadLibrary().path, {
    rd_kafka_Node_id: { args: ["ptr"], returns: "i32" },
  }).symbols;
}

/** @throws KafkaError when no broker answers in time */
export async function replicaPlaces(
  settings: Settings,
  topics: readonly string[],
  timeoutMs: number,
): Promise<ReplicaPlaces[]> {
  const client = Client.create("producer", settings, 0);
  const requests = new AdminRequests(client);
  const timer = setInterval(() => requests.poll(), POLL_MS);
  const { library, handle } = client;
  const { c } = library;
  const own = loadFunctions();
  const idOf = (node: Pointer) => own.rd_kafka_Node_id(node);
  try {
    return await requests.send({
      what: `${topics.join(", ")} cannot be described`,
      operation: AdminOperation.describeTopics,
      timeoutMs,
      send: (options, queue) =>
        library.withTexts(topics, (names) => {
          const collection = pointer(
            c.rd_kafka_TopicCollection_of_topic_names(names, topics.length),
            "a collection of topics",
          );
          c.rd_kafka_DescribeTopics(handle, collection, options, queue);
          c.rd_kafka_TopicCollection_destroy(collection);
        }),
      read: (event) =>
        library.pointers(c.rd_kafka_DescribeTopics_result_topics, event).flatMap((at) => {
          const topic = c.rd_kafka_TopicDescription_name(at) ?? "";
          return library.pointers(c.rd_kafka_TopicDescription_partitions, at).map((partition) => {
            const leader = c.rd_kafka_TopicPartitionInfo_leader(partition);
            return {
              topic,
              partition: c.rd_kafka_TopicPartitionInfo_partition(partition),
              leader: isNull(leader) ? undefined : idOf(pointer(leader, "leader")),
              replicas: library.pointers(c.rd_kafka_TopicPartitionInfo_replicas, partition).map(idOf),
              inSync: library.pointers(c.rd_kafka_TopicPartitionInfo_isr, partition).map(idOf),
            };
          });
        }),
    });
  } finally {
    clearInterval(timer);
    requests.close("the client was closed");
    client.destroy();
  }
}
