// Reads the events of a member of the group: what happens to its partitions, its errors and its log lines.
import type { TopicPartition } from "../event.ts";
import type { Client, ErrorReport, LogLine } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";
import { EventType } from "./ffi/bindings.ts";
import type { Library } from "./ffi/library.ts";
import type { Pointer } from "./ffi/memory.ts";
import type { LibrdkafkaAssignment } from "./librdkafka-assignment.ts";
import { type LogTruncation, logTruncation } from "./log-truncation.ts";
import { unreadableReason } from "./unreadable-reason.ts";

export type ConsumerEvent =
  /** The group gives us partitions. Must be answered with `acknowledgeAssign`. */
  | { kind: "assign"; partitions: TopicPartition[] }
  /** The group takes partitions; `lost`: others may own them already. Must be answered with `acknowledgeRevoke`. */
  | { kind: "revoke"; partitions: TopicPartition[]; lost: boolean }
  /** The log does not hold the offset. Comes once; the partition delivers nothing until `fetch` moves it. */
  | { kind: "out_of_range"; topic: string; partition: number; offset: number }
  /**
   * Kafka has cut the log off below what was read, and other records may stand there by now. The log that was read
   * ends at `end`, where the leader can tell. Comes once; the partition delivers nothing until `fetch` moves it.
   */
  | ({ kind: "truncated"; topic: string; partition: number } & LogTruncation)
  /** librdkafka cannot read the batch at this offset. It keeps trying, and this comes with each attempt. */
  | { kind: "unreadable"; topic: string; partition: number; offset: number; reason: string }
  | ({ kind: "error" } & ErrorReport)
  /** The result of a `commit`. */
  | { kind: "committed"; error: string | undefined }
  | ({ kind: "log" } & LogLine);

/**
 * Reads and frees an event that is not a record. Of a rebalance the assignment is told.
 * @returns undefined for an event of no interest
 */
export function readConsumerEvent(
  client: Client,
  assignment: LibrdkafkaAssignment,
  event: Pointer,
): ConsumerEvent | undefined {
  const { library } = client;
  try {
    switch (library.c.rd_kafka_event_type(event)) {
      case EventType.rebalance:
        return readRebalance(library, assignment, event);
      case EventType.error:
        return readError(client, event);
      case EventType.offsetCommit:
        return { kind: "committed", error: commitError(library, event) };
      case EventType.log:
        return { kind: "log", ...library.eventLog(event) };
      default:
        return undefined;
    }
  } finally {
    library.c.rd_kafka_event_destroy(event);
  }
}

function readRebalance(library: Library, assignment: LibrdkafkaAssignment, event: Pointer): ConsumerEvent {
  const entries = library.eventPartitions(event);
  const partitions = entries.map(({ topic, partition }) => ({ topic, partition }));
  if (library.c.rd_kafka_event_error(event) === ErrorCode.assignPartitions) {
    assignment.assigned(partitions);
    return { kind: "assign", partitions };
  }
  return { kind: "revoke", partitions, lost: assignment.revoked(partitions) };
}

function readError(client: Client, event: Pointer): ConsumerEvent | undefined {
  const error = client.readError(event);
  if (error.code === ErrorCode.partitionEof) return undefined;
  const reason = unreadableReason(error);
  const isOfPartition = reason !== undefined || error.code === ErrorCode.autoOffsetReset;
  const at = isOfPartition && client.library.eventPartition(event);
  if (!at) return { kind: "error", ...error };
  const { topic, partition, offset } = at;
  if (reason !== undefined) return { kind: "unreadable", topic, partition, offset, reason };
  const truncation = logTruncation(error);
  if (truncation !== undefined) return { kind: "truncated", topic, partition, ...truncation };
  return { kind: "out_of_range", topic, partition, offset };
}

function commitError(library: Library, event: Pointer): string | undefined {
  const code = library.c.rd_kafka_event_error(event);
  const failed = code || library.eventPartitions(event).find(({ errorCode }) => errorCode)?.errorCode;
  return failed ? library.errorName(failed) : undefined;
}
