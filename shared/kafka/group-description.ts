// Reads how a consumer group has shared its partitions.
import type { TopicPartition } from "../event.ts";
import type { AdminRequests } from "./admin-requests.ts";
import type { Client } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { AdminOperation } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import { isNull, type Pointer, pointer } from "./ffi/memory.ts";
import { readPartitions } from "./ffi/partition-list.ts";

export interface GroupDescription {
  /** False during a rebalance, for a group without members, and for a group of the KIP-848 protocol. */
  readonly isStable: boolean;
  /** The partitions that the members own. */
  readonly partitions: readonly TopicPartition[];
}

/** rd_kafka_consumer_group_state_t */
const STABLE = 3;

/**
 * Asks the coordinator of a group of the classic protocol. The owner of `requests` must poll them.
 * @throws KafkaError when the coordinator does not answer, or refuses
 */
export function describeGroup(
  { library, handle }: Client,
  requests: AdminRequests,
  group: string,
  timeoutMs: number,
): Promise<GroupDescription> {
  const { c } = library;
  return requests.send({
    what: `the group ${group} cannot be described`,
    operation: AdminOperation.describeConsumerGroups,
    timeoutMs,
    isForCoordinator: true,
    send: (options, queue) =>
      library.withTexts([group], (names) =>
        c.rd_kafka_DescribeConsumerGroups(handle, names, 1, options, queue),
      ),
    read: (event) => {
      const [found] = library.pointers(c.rd_kafka_DescribeConsumerGroups_result_groups, event);
      return readDescription(library, group, pointer(found ?? 0, "group"));
    },
  });
}

function readDescription(library: Library, group: string, at: Pointer): GroupDescription {
  const { c } = library;
  const failed = c.rd_kafka_ConsumerGroupDescription_error(at); // freed with the event
  const code = isNull(failed) ? ErrorCode.none : c.rd_kafka_error_code(pointer(failed, "group error"));
  library.check(code, `the group ${group} cannot be described`);
  const count = Number(c.rd_kafka_ConsumerGroupDescription_member_count(at));
  const partitions = Array.from({ length: count }, (_, index) => {
    const member = pointer(c.rd_kafka_ConsumerGroupDescription_member(at, index), "member");
    const assignment = c.rd_kafka_MemberDescription_assignment(member);
    if (isNull(assignment)) return [];
    const list = c.rd_kafka_MemberAssignment_partitions(pointer(assignment, "assignment"));
    return isNull(list) ? [] : readPartitions(pointer(list, "partition list"));
  });
  return {
    isStable: c.rd_kafka_ConsumerGroupDescription_state(at) === STABLE,
    partitions: partitions.flat().map(({ topic, partition }) => ({ topic, partition })),
  };
}
