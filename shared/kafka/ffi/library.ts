// The path of librdkafka in; its functions and everything that reads or writes native memory out.
//
// This is the only file that turns numbers into memory. A wrong pointer ends the process, so every pointer that
// C returns passes `pointer()`, and every pointer that the other files hold came from here.
import { dlopen, type Library as NativeLibrary, type Pointer, ptr, read } from "bun:ffi";
import { getEnvironmentData, setEnvironmentData } from "node:worker_threads";
import type { TopicPartition, TopicPartitionOffset } from "../../event.ts";
import { encodeHeaders, type RecordBlock, type RecordHeader } from "../../pipeline/record-block.ts";
import { FatalError, errorMessage } from "../../runtime/errors.ts";
import { KafkaError } from "../kafka-error.ts";
import type { PartitionTable } from "../partition-table.ts";
import { ErrorCode, SYMBOLS } from "./bindings.ts";

// Where the fields of librdkafka's public structs lie, the same on x86-64 and aarch64.
// A message's are given in words of 32 bits; pointers, lengths and offsets take two of them, the lower one first.
const MESSAGE = {
  error: 0,
  topic: 2,
  partition: 4,
  value: 6,
  valueLength: 8,
  key: 10,
  keyLength: 12,
  offset: 14,
  opaque: 16,
} as const;
const MESSAGE_BYTES = 72;
const PARTITION = { topic: 0, partition: 8, offset: 16, error: 48, size: 64 } as const;
const LIST = { count: 0, elements: 8 } as const;

/** rd_kafka_vtype_t: what an argument of rd_kafka_produceva is; each takes 72 bytes. */
const ARGUMENT = { topic: 2, partition: 3, value: 4, key: 5, opaque: 6, flags: 7, headers: 10 } as const;
const ARGUMENT_WORDS = 9;
const COPY = 2;

/** Room for librdkafka's error texts; it asks for 512 bytes. */
const ERROR_TEXT_BYTES = 512;
const DELIVERIES_AT_ONCE = 512;
/** In a record a key and its value lie side by side, with the value's length (1 to 5 bytes) between them. */
const MAX_GAP_BYTES = 8;
const WORD = 2 ** 32;

export type { Pointer } from "bun:ffi";

/** A partition as librdkafka reports it; errorCode 0 is none. */
export interface PartitionEntry extends TopicPartitionOffset {
  readonly errorCode: number;
}

type Functions = NativeLibrary<typeof SYMBOLS>["symbols"];

export interface HeaderedMessage {
  readonly topic: Pointer;
  readonly partition: number;
  readonly key: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
  readonly opaque: number;
  readonly headers: readonly RecordHeader[];
}

/** The environment data of Node threads: a thread starts with a copy of what its parent had. */
const PATH_KEY = "event-pipeline.librdkafka";

let loaded: Library | undefined;

/** Sets the file that `loadLibrary` loads, in this thread and in all threads that start afterwards. */
export function setLibraryPath(path: string): void {
  setEnvironmentData(PATH_KEY, path);
}

/**
 * Loads librdkafka into this thread (once per thread; all threads share its code and its global state).
 * @throws FatalError when the file is not a librdkafka
 * @throws Error when `prepareNativeLibrary` was not awaited before
 */
export function loadLibrary(): Library {
  if (loaded !== undefined) return loaded;
  const path = getEnvironmentData(PATH_KEY);
  if (typeof path !== "string")
    throw new Error("prepareNativeLibrary must come before the first Kafka client");
  loaded = new Library(path);
  return loaded;
}

export class Library {
  /** The C functions. Pointers given to them must come from this object. */
  readonly c: Functions;
  /** The file it was loaded from. */
  readonly path: string;
  readonly version: string;
  /** The functions that are called for every record. */
  readonly #hot: {
    readonly poll: Functions["rd_kafka_queue_poll"];
    readonly messageNext: Functions["rd_kafka_event_message_next"];
    readonly messageHeaders: Functions["rd_kafka_message_headers"];
    readonly destroyEvent: Functions["rd_kafka_event_destroy"];
    readonly memcpy: Functions["memcpy"];
  };
  // Scratch for out-parameters. The numbers beside the arrays are their addresses; the arrays keep them valid.
  readonly #words = new BigUint64Array(4);
  readonly #word = new Uint32Array(this.#words.buffer);
  readonly #wordsAt = pointer(ptr(this.#words), "scratch");
  readonly #message = new Uint32Array(MESSAGE_BYTES / 4);
  readonly #messageAt = pointer(ptr(this.#message), "scratch");
  readonly #text = new Uint8Array(ERROR_TEXT_BYTES);
  // Held here while C reads them.
  #texts: Buffer[] = [];
  readonly #deliveries = new BigUint64Array(DELIVERIES_AT_ONCE);
  readonly #delivery = new Uint32Array(this.#deliveries.buffer);

  constructor(path: string) {
    try {
      this.c = dlopen(path, SYMBOLS).symbols;
    } catch (error) {
      throw new FatalError(`librdkafka cannot be loaded from ${path}: ${errorMessage(error)}`);
    }
    // An object of so many functions is slow to look them up in.
    this.#hot = {
      poll: this.c.rd_kafka_queue_poll,
      messageNext: this.c.rd_kafka_event_message_next,
      messageHeaders: this.c.rd_kafka_message_headers,
      destroyEvent: this.c.rd_kafka_event_destroy,
      memcpy: this.c.memcpy,
    };
    this.path = path;
    this.version = this.c.rd_kafka_version_str() ?? "";
  }

  /** What this build can do ("ssl", "gzip", "zstd", "sasl_scram", ...). */
  features(): Set<string> {
    const configuration = pointer(this.c.rd_kafka_conf_new(), "rd_kafka_conf_new");
    this.#words[0] = BigInt(ERROR_TEXT_BYTES);
    this.c.rd_kafka_conf_get(configuration, "builtin.features", this.#text, this.#words);
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

  error(code: number, message: string): KafkaError {
    return new KafkaError(code, this.errorName(code), message);
  }

  /** @throws KafkaError unless the code is 0 */
  check(code: number, what: string): void {
    if (code !== ErrorCode.none) {
      throw this.error(code, `${what}: ${this.c.rd_kafka_err2str(code) ?? "unknown error"}`);
    }
  }

  /** Takes over an `rd_kafka_error_t *`. @returns the error, undefined for NULL */
  takeError(value: Returned, what: string): KafkaError | undefined {
    if (isNull(value)) return undefined;
    const at = pointer(value, what);
    const code = this.c.rd_kafka_error_code(at);
    const error = this.error(code, `${what}: ${this.c.rd_kafka_error_string(at) ?? "unknown error"}`);
    this.c.rd_kafka_error_destroy(at);
    return error;
  }

  /** Runs `work` with a C array of C strings. */
  withTexts<T>(texts: readonly string[], work: (array: BigUint64Array) => T): T {
    this.#texts = texts.map((text) => Buffer.from(`${text}\0`));
    return work(BigUint64Array.from(this.#texts, (text) => BigInt(ptr(text))));
  }

  // ---- lists of partitions

  /** Runs `work` with a native list of the partitions, and frees it. Without offsets they are "invalid". */
  withPartitions<T>(
    partitions: readonly (TopicPartition & { readonly offset?: number })[],
    work: (list: Pointer) => T,
  ): T {
    const c = this.c;
    const list = pointer(c.rd_kafka_topic_partition_list_new(partitions.length), "partition list");
    try {
      for (const { topic, partition, offset } of partitions) {
        c.rd_kafka_topic_partition_list_add(list, topic, partition);
        if (offset !== undefined) {
          c.rd_kafka_topic_partition_list_set_offset(list, topic, partition, offset);
        }
      }
      return work(list);
    } finally {
      c.rd_kafka_topic_partition_list_destroy(list);
    }
  }

  readPartitions(list: Pointer): PartitionEntry[] {
    const count = read.i32(list, LIST.count);
    if (count === 0) return [];
    const elements = pointer(read.ptr(list, LIST.elements), "partition list");
    return Array.from({ length: count }, (_, i) => this.readPartition(elements, i));
  }

  /** The `index`-th partition of a native array of them. */
  readPartition(elements: Pointer, index = 0): PartitionEntry {
    const at = index * PARTITION.size;
    return {
      topic: this.#textAt(read.ptr(elements, at + PARTITION.topic)),
      partition: read.i32(elements, at + PARTITION.partition),
      offset: readI64(elements, at + PARTITION.offset),
      errorCode: read.i32(elements, at + PARTITION.error),
    };
  }

  /** How many topics a consumer is subscribed to. */
  subscribedTopics(consumer: Pointer): number {
    this.#words[0] = 0n;
    this.check(this.c.rd_kafka_subscription(consumer, this.#wordsAt), "subscription");
    const list = pointer(this.#pointerAt(0), "subscription");
    const count = read.i32(list, LIST.count);
    this.c.rd_kafka_topic_partition_list_destroy(list);
    return count;
  }

  // ---- arrays that C functions return with their length

  /** Calls a function of the form `T **f(object, size_t *count)`. @returns the pointers in the array */
  pointers(call: (object: Pointer, count: Pointer) => Returned, object: Pointer): Pointer[] {
    this.#words[0] = 0n;
    const array = call(object, this.#wordsAt);
    const count = Number(this.#words[0]);
    if (count === 0 || isNull(array)) return [];
    const at = pointer(array, "array");
    return Array.from({ length: count }, (_, i) => pointer(read.ptr(at, i * 8), "array element"));
  }

  /** A C array of pointers. */
  array(pointers: readonly Pointer[]): BigUint64Array {
    return BigUint64Array.from(pointers, (at) => BigInt(at));
  }

  // ---- events

  /** The next event of a queue, to be freed with `rd_kafka_event_destroy`; undefined when there is none. */
  nextEvent(queue: Pointer): Pointer | undefined {
    const event = this.c.rd_kafka_queue_poll(queue, 0);
    return isNull(event) ? undefined : pointer(event, "event");
  }

  /** The integer that was given as a request's opaque. */
  eventOpaque(event: Pointer): number {
    return Number(this.c.rd_kafka_event_opaque(event) ?? 0);
  }

  eventPartitions(event: Pointer): PartitionEntry[] {
    const list = this.c.rd_kafka_event_topic_partition_list(event);
    return isNull(list) ? [] : this.readPartitions(pointer(list, "partition list"));
  }

  eventPartition(event: Pointer): PartitionEntry | undefined {
    const found = this.c.rd_kafka_event_topic_partition(event);
    if (isNull(found)) return undefined;
    const at = pointer(found, "partition");
    const partition = this.readPartition(at);
    this.c.rd_kafka_topic_partition_destroy(at);
    return partition;
  }

  eventLog(event: Pointer): { level: number; facility: string; message: string } {
    const at = Number(this.#wordsAt);
    this.c.rd_kafka_event_log(event, this.#wordsAt, address(at + 8), address(at + 16));
    const [facility, message] = [this.#pointerAt(0), this.#pointerAt(1)];
    return {
      level: this.#word[4]!,
      facility: this.#textAt(facility),
      message: this.#textAt(message),
    };
  }

  // ---- records

  /**
   * Moves records from a queue into a block until the block holds `maxBytes` or all its records, the queue is
   * empty, or an event comes that is no record.
   * @returns that event, to be freed; else undefined
   */
  takeRecords(
    queue: Pointer,
    block: RecordBlock,
    table: PartitionTable,
    maxBytes: number,
  ): Pointer | undefined {
    const { poll, messageNext, messageHeaders, destroyEvent, memcpy } = this.#hot;
    const message = this.#message;
    const nextOffset = table.nextOffset;
    let bytes = block.bytes;
    let base = Number(ptr(bytes));
    while (block.count < block.maxRecords && block.used < maxBytes) {
      const polled = poll(queue, 0);
      if (!polled) return undefined;
      const event = address(Number(polled));
      const found = messageNext(event);
      // Only a record has a message on this queue.
      if (!found) return event;
      // A record that is not freed would hang rd_kafka_destroy for ever.
      try {
        const messageAt = address(Number(found));
        // One copy of the struct and reads from an array cost half of reading its fields one by one.
        memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
        const slot = table.slotOf(
          message[MESSAGE.topic]! + message[MESSAGE.topic + 1]! * WORD,
          message[MESSAGE.partition]!,
        );
        const offset = message[MESSAGE.offset]! + message[MESSAGE.offset + 1]! * WORD;
        // librdkafka resumes a partition at the last position that it had seen us take; a record that was
        // being taken at the moment of the pause would come twice.
        if (offset < nextOffset[slot]!) continue;
        nextOffset[slot] = offset + 1;

        const value = message[MESSAGE.value]! + message[MESSAGE.value + 1]! * WORD;
        const valueLength = message[MESSAGE.valueLength]!;
        const key = message[MESSAGE.key]! + message[MESSAGE.key + 1]! * WORD;
        const keyLength = message[MESSAGE.keyLength]!;
        const index = block.count;
        const gap = value - key - keyLength;
        if (key !== 0 && value !== 0 && gap >= 0 && gap <= MAX_GAP_BYTES) {
          // Key and value side by side: one copy for both.
          const valueOffset = keyLength + gap;
          const start = block.reserve(valueOffset + valueLength);
          if (block.bytes !== bytes) {
            bytes = block.bytes;
            base = Number(ptr(bytes));
          }
          memcpy(address(base + start), address(key), valueOffset + valueLength);
          block.keyStart[index] = start;
          block.keyEnd[index] = start + keyLength;
          block.valueStart[index] = start + valueOffset;
          block.valueEnd[index] = start + valueOffset + valueLength;
        } else {
          block.keyStart[index] = this.#copy(block, key, keyLength);
          block.keyEnd[index] = block.keyStart[index] + keyLength;
          block.valueStart[index] = this.#copy(block, value, valueLength);
          block.valueEnd[index] = block.valueStart[index] + valueLength;
          if (block.bytes !== bytes) {
            bytes = block.bytes;
            base = Number(ptr(bytes));
          }
        }
        block.slot[index] = slot;
        block.offset[index] = offset;
        if (messageHeaders(messageAt, this.#wordsAt) === ErrorCode.none) {
          block.headers.set(index, encodeHeaders(this.#readHeaders()));
        }
        block.count = index + 1;
      } finally {
        destroyEvent(event);
      }
    }
    return undefined;
  }

  /** Calls `each` with the opaque and the error code (0: delivered) of every message of a delivery event. */
  readDeliveries(event: Pointer, each: (opaque: number, code: number) => void): void {
    const { memcpy } = this.#hot;
    const message = this.#message;
    for (;;) {
      const count = Number(this.c.rd_kafka_event_message_array(event, this.#deliveries, DELIVERIES_AT_ONCE));
      for (let i = 0; i < count; i++) {
        const messageAt = address(this.#delivery[2 * i]! + this.#delivery[2 * i + 1]! * WORD);
        memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
        const opaque = message[MESSAGE.opaque]! + message[MESSAGE.opaque + 1]! * WORD;
        each(opaque, message[MESSAGE.error]! | 0);
      }
      if (count < DELIVERIES_AT_ONCE) return;
    }
  }

  /** Produces a message that has headers. Everything is copied. @returns the error code, 0 when it was taken */
  produceWithHeaders(client: Pointer, message: HeaderedMessage): number {
    const { c } = this;
    const { topic, partition, key, value, opaque, headers } = message;
    const list = pointer(c.rd_kafka_headers_new(headers.length), "rd_kafka_headers_new");
    for (const { name, value: bytes } of headers) {
      const at = bytes === undefined ? null : bytes.length === 0 ? this.#wordsAt : bytes;
      c.rd_kafka_header_add(list, name, -1, at, bytes?.length ?? 0);
    }
    const empty = Number(this.#wordsAt);
    const start = (bytes: Uint8Array | undefined) =>
      bytes === undefined ? 0 : bytes.length === 0 ? empty : this.addressOf(bytes);
    const fields: [type: number, first: number, second: number][] = [
      [ARGUMENT.topic, Number(topic), 0],
      [ARGUMENT.partition, partition >>> 0, 0],
      [ARGUMENT.value, start(value), value?.length ?? 0],
      [ARGUMENT.key, start(key), key?.length ?? 0],
      [ARGUMENT.opaque, opaque, 0],
      [ARGUMENT.flags, COPY, 0],
      [ARGUMENT.headers, Number(list), 0],
    ];
    const words = new BigUint64Array(fields.length * ARGUMENT_WORDS);
    fields.forEach(([type, first, second], i) => {
      words.set([BigInt(type), BigInt(first), BigInt(second)], i * ARGUMENT_WORDS);
    });
    const error = c.rd_kafka_produceva(client, words, fields.length);
    if (isNull(error)) return ErrorCode.none;
    c.rd_kafka_headers_destroy(list); // it is librdkafka's only when the message was taken
    const at = pointer(error, "rd_kafka_produceva");
    const code = c.rd_kafka_error_code(at);
    c.rd_kafka_error_destroy(at);
    return code;
  }

  // ---- the rest

  /** The address of a buffer that the caller keeps alive for as long as the address is used. */
  addressOf(buffer: Uint8Array): number {
    return Number(pointer(ptr(buffer), "buffer"));
  }

  #copy(block: RecordBlock, from: number, length: number): number {
    if (from === 0) return -1;
    const start = block.reserve(length);
    if (length > 0) this.c.memcpy(address(Number(ptr(block.bytes)) + start), address(from), length);
    return start;
  }

  /** The headers whose list is in the first scratch word. */
  #readHeaders(): RecordHeader[] {
    const list = pointer(this.#pointerAt(0), "headers");
    const at = Number(this.#wordsAt);
    const headers: RecordHeader[] = [];
    for (let i = 0; ; i++) {
      const code = this.c.rd_kafka_header_get_all(
        list,
        i,
        address(at + 8),
        address(at + 16),
        address(at + 24),
      );
      if (code !== ErrorCode.none) return headers;
      const value = this.#pointerAt(2);
      const length = this.#pointerAt(3);
      headers.push({
        name: this.#textAt(this.#pointerAt(1)),
        value: value === 0 ? undefined : this.#bytesAt(value, length),
      });
    }
  }

  #pointerAt(index: number): number {
    return this.#word[2 * index]! + this.#word[2 * index + 1]! * WORD;
  }

  #bytesAt(from: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(length);
    if (length > 0) this.c.memcpy(ptr(bytes), address(from), length);
    return bytes;
  }

  /** The C string at an address. */
  #textAt(from: number): string {
    const at = pointer(from, "text");
    let length = 0;
    while (read.u8(at, length) !== 0) length++;
    return this.#bytesAt(from, length).toString();
  }
}

/** What a C function may return as a pointer. */
export type Returned = Pointer | number | bigint | null;

export function isNull(value: Returned): boolean {
  return value === null || Number(value) === 0;
}

/**
 * Makes sure of what C returned.
 * @throws when it is no pointer: NULL, or not an address
 */
export function pointer(value: Returned, what: string): Pointer {
  const found = Number(value);
  if (!Number.isSafeInteger(found) || found <= 0) {
    throw new Error(`librdkafka gave no valid pointer for ${what}`);
  }
  return address(found);
}

/** The one place where a number becomes a pointer; for numbers that were computed from checked ones. */
export function address(value: number): Pointer {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- C has no other type for it
  return value as Pointer;
}

/** A 64-bit integer; exact up to 2^53. */
function readI64(at: Pointer, offset: number): number {
  return read.u32(at, offset) + read.i32(at, offset + 4) * WORD;
}
