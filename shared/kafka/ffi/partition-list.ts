// Reads librdkafka's lists of partitions from native memory.
import type { TopicPartitionOffset } from "../../event.ts";
import { type Pointer, readI32, readI64, readPointer, readText } from "./memory.ts";

// Where the fields of librdkafka's public structs lie, in bytes; the same on x86-64 and aarch64.
const PARTITION = { topic: 0, partition: 8, offset: 16, error: 48, size: 64 } as const;
const LIST = { count: 0, elements: 8 } as const;

/** A partition as librdkafka reports it; errorCode 0 is none. */
export interface PartitionEntry extends TopicPartitionOffset {
  readonly errorCode: number;
}

/** Where a partition is to be fetched from. */
export interface StartPosition {
  readonly offset: number;
  /** The leader epoch of the last record below the offset, where it is known. */
  readonly leaderEpoch?: number | undefined;
}

export function partitionCount(list: Pointer): number {
  return readI32(list, LIST.count);
}

export function readPartitions(list: Pointer): PartitionEntry[] {
  const count = partitionCount(list);
  if (count === 0) return [];
  const elements = readPointer(list, LIST.elements, "partition list");
  return Array.from({ length: count }, (_, i) => readPartition(elements, i));
}

/** The `index`-th partition of a native array of them. */
export function readPartition(elements: Pointer, index = 0): PartitionEntry {
  const at = index * PARTITION.size;
  return {
    topic: readText(readPointer(elements, at + PARTITION.topic, "topic name")),
    partition: readI32(elements, at + PARTITION.partition),
    offset: readI64(elements, at + PARTITION.offset),
    errorCode: readI32(elements, at + PARTITION.error),
  };
}
