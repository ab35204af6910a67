// Asks the brokers what this user may do with a topic or a consumer group.
import type { AdminRequests } from "./admin-requests.ts";
import type { Client } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { AdminOperation } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { isNull, type Pointer, pointer, type Returned } from "./ffi/memory.ts";

/** Kafka's operations that the programs need (rd_kafka_AclOperation_t). */
const OPERATIONS = { 3: "Read", 4: "Write", 8: "Describe", 10: "DescribeConfigs" } as const;

export type Operation = (typeof OPERATIONS)[keyof typeof OPERATIONS];

/**
 * @returns undefined where the brokers do not tell; all where they check no rights
 * @throws KafkaError where this user may not even see the topic, or no broker answers
 */
export function topicOperations(
  { library, handle }: Client,
  requests: AdminRequests,
  topic: string,
  timeoutMs: number,
): Promise<Operation[] | undefined> {
  const { c } = library;
  const what = `the rights on the topic ${topic} cannot be read`;
  return requests.send({
    what,
    operation: AdminOperation.describeTopics,
    timeoutMs,
    withOperations: true,
    send: (options, queue) =>
      library.withTexts([topic], (names) => {
        const collection = pointer(c.rd_kafka_TopicCollection_of_topic_names(names, 1), "topics");
        c.rd_kafka_DescribeTopics(handle, collection, options, queue);
        c.rd_kafka_TopicCollection_destroy(collection);
      }),
    read(event) {
      const [description] = library.pointers(c.rd_kafka_DescribeTopics_result_topics, event);
      if (description === undefined) return undefined;
      throwReported(library, c.rd_kafka_TopicDescription_error(description), what);
      return operationsOf(library.integers(c.rd_kafka_TopicDescription_authorized_operations, description));
    },
  });
}

/** Likewise for a consumer group, which need not exist yet. */
export function groupOperations(
  { library, handle }: Client,
  requests: AdminRequests,
  group: string,
  timeoutMs: number,
): Promise<Operation[] | undefined> {
  const { c } = library;
  const what = `the rights on the consumer group ${group} cannot be read`;
  return requests.send({
    what,
    operation: AdminOperation.describeConsumerGroups,
    timeoutMs,
    isForCoordinator: true,
    withOperations: true,
    send: (options, queue) =>
      library.withTexts([group], (names) =>
        c.rd_kafka_DescribeConsumerGroups(handle, names, 1, options, queue),
      ),
    read(event) {
      const [description] = library.pointers(c.rd_kafka_DescribeConsumerGroups_result_groups, event);
      if (description === undefined) return undefined;
      throwReported(library, c.rd_kafka_ConsumerGroupDescription_error(description), what);
      const operations = c.rd_kafka_ConsumerGroupDescription_authorized_operations;
      return operationsOf(library.integers(operations, description));
    },
  });
}

/** Reads an error that belongs to the event. @throws KafkaError unless there is none */
function throwReported(library: Library, error: Returned, what: string): void {
  if (isNull(error)) return;
  const at: Pointer = pointer(error, what);
  const code = library.c.rd_kafka_error_code(at);
  if (code === ErrorCode.none) return;
  throw library.error(code, `${what}: ${library.c.rd_kafka_error_string(at) ?? library.describe(code)}`);
}

function operationsOf(codes: readonly number[] | undefined): Operation[] | undefined {
  const names: Readonly<Record<number, Operation>> = OPERATIONS;
  return codes?.flatMap((code) => names[code] ?? []);
}
