// Copies the messages of librdkafka's events: consumed records into a block, delivery reports to a callback.
import { ptr } from "bun:ffi";
import {
  CUT_BYTES,
  type CutPart,
  MAX_BLOCK_BYTES,
  MAX_KEPT_BYTES,
  type RecordBlock,
} from "../../pipeline/record-block.ts";
import { ErrorCode } from "../error-codes.ts";
import type { PartitionTable } from "../partition-table.ts";
import type { Functions, Library } from "./library.ts";
import { address, addressOf, type Pointer, pointer, readText, Scratch, WORD } from "./memory.ts";

// Where the fields of rd_kafka_message_t lie, in words of 32 bits; the same on x86-64 and aarch64. Pointers, lengths
// and offsets take two words, the lower one first.
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
const DELIVERIES_AT_ONCE = 512;
/** In a record a key and its value lie side by side, with the value's length (1 to 5 bytes) between them. */
const MAX_GAP_BYTES = 8;
/** A part of a record that is too large to be kept is hashed in pieces of this size. */
const HASHED_AT_ONCE = 262_144;

/** Reads the messages of one client. */
export class MessageReader {
  // Kept apart from `library.c`, which has so many functions that a lookup in it is slow; these are called for every
  // record.
  readonly #poll: Functions["rd_kafka_queue_poll"];
  readonly #messageNext: Functions["rd_kafka_event_message_next"];
  readonly #messageHeaders: Functions["rd_kafka_message_headers"];
  readonly #messageBroker: Functions["rd_kafka_message_broker_id"];
  readonly #messageLeaderEpoch: Functions["rd_kafka_message_leader_epoch"];
  readonly #destroyEvent: Functions["rd_kafka_event_destroy"];
  readonly #memcpy: Functions["memcpy"];
  readonly #headerGetAll: Functions["rd_kafka_header_get_all"];
  readonly #messageArray: Functions["rd_kafka_event_message_array"];
  readonly #message = new Uint32Array(MESSAGE_BYTES / 4);
  readonly #messageAt = addressOf(this.#message);
  readonly #scratch = new Scratch();
  readonly #deliveries = new BigUint64Array(DELIVERIES_AT_ONCE);
  readonly #delivery = new Uint32Array(this.#deliveries.buffer);

  /** The id of the broker that delivered a record lately; undefined before the first. */
  lastBroker: number | undefined;

  constructor({ c }: Library) {
    this.#poll = c.rd_kafka_queue_poll;
    this.#messageNext = c.rd_kafka_event_message_next;
    this.#messageHeaders = c.rd_kafka_message_headers;
    this.#messageBroker = c.rd_kafka_message_broker_id;
    this.#messageLeaderEpoch = c.rd_kafka_message_leader_epoch;
    this.#destroyEvent = c.rd_kafka_event_destroy;
    this.#memcpy = c.memcpy;
    this.#headerGetAll = c.rd_kafka_header_get_all;
    this.#messageArray = c.rd_kafka_event_message_array;
  }

  /**
   * Moves records from a queue into a block until the block is full, the queue is empty, or an event comes that is
   * not a record.
   * @returns that event, to be freed; else undefined
   */
  takeRecords(queue: Pointer, block: RecordBlock, table: PartitionTable): Pointer | undefined {
    const poll = this.#poll;
    const messageNext = this.#messageNext;
    const messageHeaders = this.#messageHeaders;
    const messageLeaderEpoch = this.#messageLeaderEpoch;
    const destroyEvent = this.#destroyEvent;
    const memcpy = this.#memcpy;
    const message = this.#message;
    const nextOffset = table.nextOffset;
    let bytes = block.bytes;
    let base = Number(ptr(bytes));
    const first = block.count;
    while (block.count < block.limit && block.used < MAX_BLOCK_BYTES) {
      const polled = poll(queue, 0);
      if (!polled) return undefined;
      const event = address(Number(polled));
      const found = messageNext(event);
      // Only a record has a message on this queue.
      if (!found) return event;
      // A record that is not freed makes rd_kafka_destroy wait forever.
      try {
        const messageAt = address(Number(found));
        // One copy of the struct and reads from an array cost half of reading its fields one by one.
        memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
        const slot = table.slotOf(
          message[MESSAGE.topic]! + message[MESSAGE.topic + 1]! * WORD,
          message[MESSAGE.partition]!,
        );
        const offset = message[MESSAGE.offset]! + message[MESSAGE.offset + 1]! * WORD;
        // librdkafka resumes a partition at the last position that it saw us take; a record that was
        // being taken at the moment of the pause would come twice.
        if (offset < nextOffset[slot]!) continue;
        nextOffset[slot] = offset + 1;

        const value = message[MESSAGE.value]! + message[MESSAGE.value + 1]! * WORD;
        const valueLength = message[MESSAGE.valueLength]!;
        const key = message[MESSAGE.key]! + message[MESSAGE.key + 1]! * WORD;
        const keyLength = message[MESSAGE.keyLength]!;
        const index = block.count;
        if (index === first) this.lastBroker = this.#messageBroker(messageAt);
        const gap = value - key - keyLength;
        const isKeptWhole = keyLength <= MAX_KEPT_BYTES && valueLength <= MAX_KEPT_BYTES;
        if (isKeptWhole && key !== 0 && value !== 0 && gap >= 0 && gap <= MAX_GAP_BYTES) {
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
          block.keyStart[index] = this.#copy(block, key, keyLength, block.cutKeys);
          block.keyEnd[index] = block.keyStart[index] + keptLength(keyLength);
          block.valueStart[index] = this.#copy(block, value, valueLength, block.cutValues);
          block.valueEnd[index] = block.valueStart[index] + keptLength(valueLength);
        }
        block.slot[index] = slot;
        block.offset[index] = offset;
        block.leaderEpoch[index] = messageLeaderEpoch(messageAt);
        if (messageHeaders(messageAt, this.#scratch.at) === ErrorCode.none) this.#takeHeaders(block);
        if (block.bytes !== bytes) {
          bytes = block.bytes;
          base = Number(ptr(bytes));
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
    const memcpy = this.#memcpy;
    const message = this.#message;
    for (;;) {
      const count = Number(this.#messageArray(event, this.#deliveries, DELIVERIES_AT_ONCE));
      for (let i = 0; i < count; i++) {
        const messageAt = address(this.#delivery[2 * i]! + this.#delivery[2 * i + 1]! * WORD);
        memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
        const opaque = message[MESSAGE.opaque]! + message[MESSAGE.opaque + 1]! * WORD;
        each(opaque, message[MESSAGE.error]! | 0);
      }
      if (count < DELIVERIES_AT_ONCE) return;
    }
  }

  /**
   * Copies a key or a value of the block's next record; of one that is too large only the beginning.
   * @returns where the bytes begin in the block, -1 for NULL
   */
  #copy(block: RecordBlock, from: number, length: number, cut: Map<number, CutPart>): number {
    if (from === 0) return -1;
    const kept = keptLength(length);
    const start = block.reserve(kept);
    if (kept > 0) this.#memcpy(address(Number(ptr(block.bytes)) + start), address(from), kept);
    if (kept < length) cut.set(block.count, { bytes: length, sha256: this.#sha256(from, length) });
    return start;
  }

  /** Piece by piece, so that no second copy of a large value is made. */
  #sha256(from: number, length: number): Uint8Array {
    const hasher = new Bun.CryptoHasher("sha256");
    const piece = Buffer.allocUnsafeSlow(HASHED_AT_ONCE);
    for (let at = 0; at < length; at += HASHED_AT_ONCE) {
      const size = Math.min(HASHED_AT_ONCE, length - at);
      this.#memcpy(addressOf(piece), address(from + at), size);
      hasher.update(piece.subarray(0, size));
    }
    return hasher.digest();
  }

  /** Copies the headers of the block's next record, whose list is in the first word of the scratch. */
  #takeHeaders(block: RecordBlock): void {
    const scratch = this.#scratch;
    const list = pointer(scratch.get(0), "headers");
    const [name, value, length] = [scratch.addressOf(1), scratch.addressOf(2), scratch.addressOf(3)];
    block.beginHeaders();
    for (let i = 0; this.#headerGetAll(list, i, name, value, length) === ErrorCode.none; i++) {
      const valueAt = scratch.get(2);
      const valueLength = scratch.get(3);
      const start = block.addHeader(
        Buffer.from(readText(scratch.get(1))),
        valueAt === 0 ? undefined : valueLength,
      );
      if (start === undefined || valueAt === 0 || valueLength === 0) continue;
      this.#memcpy(address(Number(ptr(block.bytes)) + start), address(valueAt), valueLength);
    }
  }
}

/** How many bytes of a key or value of this length are kept. */
function keptLength(length: number): number {
  return length > MAX_KEPT_BYTES ? CUT_BYTES : length;
}
