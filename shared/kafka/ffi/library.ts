// Wraps librdkafka's C functions: its errors, lists of partitions, arrays and events.
import { dlopen, type Library as NativeLibrary, ptr } from "bun:ffi";
import type { TopicPartition } from "../../event.ts";
import { FatalError, errorMessage } from "../../runtime/errors.ts";
import { KafkaError } from "../kafka-error.ts";
import { ErrorCode } from "../error-codes.ts";
import { SYMBOLS } from "./bindings.ts";
import {
  isNull,
  type Pointer,
  pointer,
  readI32,
  readPointer,
  readText,
  type Returned,
  Scratch,
} from "./memory.ts";
import {
  type PartitionEntry,
  partitionCount,
  readPartition,
  readPartitions,
  type StartPosition,
} from "./partition-list.ts";

/** Room for librdkafka's error texts; it asks for 512 bytes. */
const ERROR_TEXT_BYTES = 512;

export type Functions = NativeLibrary<typeof SYMBOLS>["symbols"];

/** librdkafka in this thread: its C functions, and helpers for its errors, arrays and events. */
export class Library {
  /** The C functions. Pointers given to them must come from C or from memory.ts. */
  readonly c: Functions;
  /** The file it was loaded from. */
  readonly path: string;
  readonly version: string;
  readonly #scratch = new Scratch();
  readonly #text = new Uint8Array(ERROR_TEXT_BYTES);
  /** Texts that C reads; held here, so that they are not collected meanwhile. */
  #texts: Buffer[] = [];

  constructor(path: string) {
    try {
      this.c = dlopen(path, SYMBOLS).symbols;
    } catch (error) {
      throw new FatalError(`librdkafka cannot be loaded from ${path}: ${errorMessage(error)}`);
    }
    this.path = path;
    this.version = this.c.rd_kafka_version_str() ?? "";
  }

  /** What this build can do ("ssl", "gzip", "zstd", "sasl_scram", ...). */
  features(): Set<string> {
    const configuration = pointer(this.c.rd_kafka_conf_new(), "rd_kafka_conf_new");
    this.#scratch.set(0, ERROR_TEXT_BYTES);
    this.c.rd_kafka_conf_get(configuration, "builtin.features", this.#text, this.#scratch.at);
    this.c.rd_kafka_conf_destroy(configuration);
    return new Set(this.errorText.split(","));
  }

  // ---- errors and texts

  /** A buffer for a C function's error text, to pass together with its size. */
  get errorBuffer(): Uint8Array {
    return this.#text;
  }

  /** What a C function wrote into `errorBuffer`. */
  get errorText(): string {
    const end = this.#text.indexOf(0);
    return Buffer.from(this.#text.buffer, 0, end < 0 ? ERROR_TEXT_BYTES : end).toString();
  }

  errorName(code: number): string {
    return this.c.rd_kafka_err2name(code) ?? String(code);
  }

  /** What a code means, in librdkafka's words. */
  describe(code: number): string {
    return this.c.rd_kafka_err2str(code) ?? "unknown error";
  }

  error(code: number, message: string): KafkaError {
    return new KafkaError(code, this.errorName(code), message);
  }

  /** @throws KafkaError unless the code is 0 */
  check(code: number, what: string): void {
    if (code !== ErrorCode.none) throw this.error(code, `${what}: ${this.describe(code)}`);
  }

  /** Reads and frees an `rd_kafka_error_t *`. @returns the error, undefined for NULL */
  takeError(value: Returned, what: string): KafkaError | undefined {
    if (isNull(value)) return undefined;
    const at = pointer(value, what);
    const code = this.c.rd_kafka_error_code(at);
    const error = this.error(code, `${what}: ${this.c.rd_kafka_error_string(at) ?? "unknown error"}`);
    this.c.rd_kafka_error_destroy(at);
    return error;
  }

  /** Like `takeError`. @throws KafkaError unless the value is NULL */
  throwError(value: Returned, what: string): void {
    const error = this.takeError(value, what);
    if (error !== undefined) throw error;
  }

  /** Runs `work` with a C array of C strings. */
  withTexts<T>(texts: readonly string[], work: (array: BigUint64Array) => T): T {
    this.#texts = texts.map((text) => Buffer.from(`${text}\0`));
    return work(BigUint64Array.from(this.#texts, (text) => BigInt(ptr(text))));
  }

  // ---- lists of partitions

  /** Runs `work` with a native list of the partitions, and frees it. Without offsets they are "invalid". */
  withPartitions<T>(
    partitions: readonly (TopicPartition & Partial<StartPosition>)[],
    work: (list: Pointer) => T,
  ): T {
    const c = this.c;
    const list = pointer(c.rd_kafka_topic_partition_list_new(partitions.length), "partition list");
    try {
      for (const { topic, partition, offset, leaderEpoch } of partitions) {
        const entry = pointer(c.rd_kafka_topic_partition_list_add(list, topic, partition), "list entry");
        if (offset !== undefined) {
          c.rd_kafka_topic_partition_list_set_offset(list, topic, partition, offset);
        }
        if (leaderEpoch !== undefined) c.rd_kafka_topic_partition_set_leader_epoch(entry, leaderEpoch);
      }
      return work(list);
    } finally {
      c.rd_kafka_topic_partition_list_destroy(list);
    }
  }

  /** How many topics a consumer is subscribed to. */
  subscribedTopics(consumer: Pointer): number {
    this.#scratch.set(0, 0);
    this.check(this.c.rd_kafka_subscription(consumer, this.#scratch.at), "subscription");
    const list = pointer(this.#scratch.get(0), "subscription");
    const count = partitionCount(list);
    this.c.rd_kafka_topic_partition_list_destroy(list);
    return count;
  }

  /** The generation of a consumer's group, or its member epoch under KIP-848; -1 outside of a group. */
  groupGeneration(consumer: Pointer): number {
    const metadata = this.c.rd_kafka_consumer_group_metadata(consumer);
    if (isNull(metadata)) return -1;
    const at = pointer(metadata, "group metadata");
    const generation = this.c.rd_kafka_consumer_group_metadata_generation_id(at);
    this.c.rd_kafka_consumer_group_metadata_destroy(at);
    return generation;
  }

  /** The id of the cluster that a client has connected to; undefined before it has heard from it. */
  clusterId(client: Pointer): string | undefined {
    const text = this.c.rd_kafka_clusterid(client, 0);
    if (isNull(text)) return undefined;
    const id = readText(text);
    this.c.rd_kafka_mem_free(client, pointer(text, "cluster id"));
    return id;
  }

  // ---- arrays

  /** Calls a function of the form `T **f(object, size_t *count)`. @returns the pointers in the array */
  pointers(call: (object: Pointer, count: Pointer) => Returned, object: Pointer): Pointer[] {
    this.#scratch.set(0, 0);
    const array = call(object, this.#scratch.at);
    const count = this.#scratch.get(0);
    if (count === 0 || isNull(array)) return [];
    const at = pointer(array, "array");
    return Array.from({ length: count }, (_, i) => readPointer(at, i * 8, "array element"));
  }

  /** Calls a function of the form `int32_t *f(object, size_t *count)`. @returns the numbers; undefined for NULL */
  integers(call: (object: Pointer, count: Pointer) => Returned, object: Pointer): number[] | undefined {
    this.#scratch.set(0, 0);
    const array = call(object, this.#scratch.at);
    if (isNull(array)) return undefined;
    const at = pointer(array, "array");
    return Array.from({ length: this.#scratch.get(0) }, (_, i) => readI32(at, i * 4));
  }

  /** A C array of pointers. */
  array(pointers: readonly Pointer[]): BigUint64Array {
    return BigUint64Array.from(pointers, (at) => BigInt(at));
  }

  /** Forwards what the queue of a partition receives to another queue. */
  forward(client: Pointer, { topic, partition }: TopicPartition, to: Pointer): void {
    const queue = pointer(this.c.rd_kafka_queue_get_partition(client, topic, partition), "partition queue");
    this.c.rd_kafka_queue_forward(queue, to);
    this.c.rd_kafka_queue_destroy(queue);
  }

  // ---- events

  /** The next event of a queue, to be freed with `rd_kafka_event_destroy`; undefined when there is none. */
  nextEvent(queue: Pointer): Pointer | undefined {
    const event = this.c.rd_kafka_queue_poll(queue, 0);
    return isNull(event) ? undefined : pointer(event, "event");
  }

  /** The integer that a request was given as its opaque. */
  eventOpaque(event: Pointer): number {
    return Number(this.c.rd_kafka_event_opaque(event) ?? 0);
  }

  eventPartitions(event: Pointer): PartitionEntry[] {
    const list = this.c.rd_kafka_event_topic_partition_list(event);
    return isNull(list) ? [] : readPartitions(pointer(list, "partition list"));
  }

  eventPartition(event: Pointer): PartitionEntry | undefined {
    const found = this.c.rd_kafka_event_topic_partition(event);
    if (isNull(found)) return undefined;
    const at = pointer(found, "partition");
    const partition = readPartition(at);
    this.c.rd_kafka_topic_partition_destroy(at);
    return partition;
  }

  eventLog(event: Pointer): { level: number; facility: string; message: string } {
    const scratch = this.#scratch;
    this.c.rd_kafka_event_log(event, scratch.at, scratch.addressOf(1), scratch.addressOf(2));
    return {
      level: scratch.get32(2),
      facility: readText(scratch.get(0)),
      message: readText(scratch.get(1)),
    };
  }
}
