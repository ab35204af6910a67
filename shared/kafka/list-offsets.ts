// Reads where the logs of partitions begin or end, or where their records of some time begin.
import type { TopicPartition } from "../event.ts";
import type { Client } from "./client.ts";
import type { AdminRequests } from "./admin-requests.ts";
import { ErrorCode } from "./error-codes.ts";
import { AdminOperation, LogicalOffset } from "./ffi/bindings.ts";
import { pointer } from "./ffi/memory.ts";
import { readPartition } from "./ffi/partition-list.ts";

/** `fromMs`: the first record whose timestamp in Kafka is not earlier, ms since 1970. */
export type LogPlace = "beginning" | "end" | { readonly fromMs: number };

/** In the answer for a time: no record is that new. */
const NO_RECORD = -1;

/**
 * The offsets of a place in the logs of partitions, in the order of the argument: the beginnings, the stable ends (what
 * a read_committed reader can reach), or the first records of a time, Infinity where there is none. Undefined where the
 * broker reports an error, or its leader does not answer. The owner of `requests` must poll them.
 * @throws KafkaError when no broker answers
 */
export async function listOffsets(
  { library, handle }: Client,
  requests: AdminRequests,
  partitions: readonly TopicPartition[],
  place: LogPlace,
  timeoutMs: number,
): Promise<(number | undefined)[]> {
  if (partitions.length === 0) return [];
  const { c } = library;
  const isTime = typeof place === "object";
  const what = `the ${isTime ? "offsets by time" : place} of ${partitions.length} partition(s) cannot be read`;
  const offset = isTime ? place.fromMs : LogicalOffset[place];
  const wanted = partitions.map(({ topic, partition }) => ({ topic, partition, offset }));
  const found = await requests.send({
    what,
    operation: AdminOperation.listOffsets,
    timeoutMs,
    readCommitted: true,
    send: (options, queue) =>
      library.withPartitions(wanted, (list) => c.rd_kafka_ListOffsets(handle, list, options, queue)),
    read: (event) =>
      library
        .pointers(c.rd_kafka_ListOffsets_result_infos, event)
        .map((info) => c.rd_kafka_ListOffsetsResultInfo_topic_partition(info))
        .map((at) => readPartition(pointer(at, "ListOffsets result"))),
  });
  // For a broker that does not answer, librdkafka reports its partitions without an offset and without an error.
  if (found.every((entry) => entry.errorCode <= ErrorCode.none && !isAnswered(entry))) {
    const code = found.find(({ errorCode }) => errorCode < ErrorCode.none)?.errorCode;
    library.check(code ?? ErrorCode.timedOut, what);
  }
  return partitions.map(({ topic, partition }) => {
    const entry = found.find((each) => each.topic === topic && each.partition === partition);
    if (entry === undefined || entry.errorCode !== ErrorCode.none || !isAnswered(entry)) return undefined;
    return entry.offset === NO_RECORD ? Infinity : entry.offset;
  });

  function isAnswered(entry: { readonly offset: number }): boolean {
    return entry.offset >= 0 || (isTime && entry.offset === NO_RECORD);
  }
}
