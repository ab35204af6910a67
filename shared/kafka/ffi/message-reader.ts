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
import { address, addressOf, isNull, type Pointer, pointer, readText, Scratch, WORD } from "./memory.ts";
import { type HandedOver, type RecordLoop, recordLoop } from "./record-loop.ts";

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
/** A part of a record that is too large to be kept is hashed in pieces of this size. */
const HASHED_AT_ONCE = 262_144;

/** Reads the messages of one client. */
export class MessageReader {
  readonly #c: Functions;
  readonly #loop: () => RecordLoop | undefined;
  readonly #message = new Uint32Array(MESSAGE_BYTES / 4);
  readonly #messageAt = addressOf(this.#message);
  readonly #scratch = new Scratch();
  readonly #deliveries = new BigUint64Array(DELIVERIES_AT_ONCE);
  readonly #delivery = new Uint32Array(this.#deliveries.buffer);

  /** The id of the broker that delivered a record lately; undefined before the first. */
  lastBroker: number | undefined;

  /** @param loop what takes the plain records; undefined: they are taken one by one, like the others */
  constructor({ c }: Library, loop: () => RecordLoop | undefined = () => recordLoop(c)) {
    this.#c = c;
    this.#loop = loop;
  }

  /**
   * Moves records from a queue into a block until the block is full, the queue is empty, or an event comes that is
   * not a record.
   * @returns that event, to be freed; else undefined
   */
  takeRecords(queue: Pointer, block: RecordBlock, table: PartitionTable): Pointer | undefined {
    const loop = this.#loop();
    while (block.count < block.limit && block.used < MAX_BLOCK_BYTES) {
      const next = loop === undefined ? this.#poll(queue) : loop.run(queue, block, table);
      this.lastBroker = loop?.broker ?? this.lastBroker;
      if (next === undefined) return undefined;
      // Only a record has a message on this queue.
      if (next.message === undefined) return next.event;
      // A record that is not freed makes rd_kafka_destroy wait forever.
      try {
        this.#take(next.message, block, table);
      } finally {
        this.#c.rd_kafka_event_destroy(next.event);
      }
    }
    return undefined;
  }

  #poll(queue: Pointer): HandedOver | undefined {
    const polled = this.#c.rd_kafka_queue_poll(queue, 0);
    if (isNull(polled)) return undefined;
    const event = address(Number(polled));
    const message = Number(this.#c.rd_kafka_event_message_next(event));
    return { event, message: message === 0 ? undefined : address(message) };
  }

  /** Copies any record, one that the loop hands over too. */
  #take(messageAt: Pointer, block: RecordBlock, table: PartitionTable): void {
    const message = this.#message;
    // One copy of the struct and reads from an array cost half of reading its fields one by one.
    this.#c.memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
    const slot = table.slotOf(word(message, MESSAGE.topic), message[MESSAGE.partition]!);
    const offset = word(message, MESSAGE.offset);
    // librdkafka resumes a partition at the last position that it saw us take; a record that was
    // being taken at the moment of the pause would come twice.
    if (offset < table.nextOffset[slot]!) return;
    table.nextOffset[slot] = offset + 1;
    const index = block.count;
    const keyLength = word(message, MESSAGE.keyLength);
    const valueLength = word(message, MESSAGE.valueLength);
    block.keyStart[index] = this.#copy(block, word(message, MESSAGE.key), keyLength, block.cutKeys);
    block.keyEnd[index] = block.keyStart[index] + keptLength(keyLength);
    block.valueStart[index] = this.#copy(block, word(message, MESSAGE.value), valueLength, block.cutValues);
    block.valueEnd[index] = block.valueStart[index] + keptLength(valueLength);
    block.slot[index] = slot;
    block.offset[index] = offset;
    block.leaderEpoch[index] = this.#c.rd_kafka_message_leader_epoch(messageAt);
    const headers = this.#c.rd_kafka_message_headers(messageAt, this.#scratch.at);
    if (headers === ErrorCode.none) this.#takeHeaders(block);
    block.count = index + 1;
    this.lastBroker = this.#c.rd_kafka_message_broker_id(messageAt);
  }

  /** Calls `each` with the opaque and the error code (0: delivered) of every message of a delivery event. */
  readDeliveries(event: Pointer, each: (opaque: number, code: number) => void): void {
    const { memcpy } = this.#c;
    const message = this.#message;
    for (;;) {
      const count = Number(this.#c.rd_kafka_event_message_array(event, this.#deliveries, DELIVERIES_AT_ONCE));
      for (let i = 0; i < count; i++) {
        const messageAt = address(this.#delivery[2 * i]! + this.#delivery[2 * i + 1]! * WORD);
        memcpy(this.#messageAt, messageAt, MESSAGE_BYTES);
        each(word(message, MESSAGE.opaque), message[MESSAGE.error]! | 0);
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
    if (kept > 0) this.#c.memcpy(address(Number(ptr(block.bytes)) + start), address(from), kept);
    if (kept < length) cut.set(block.count, { bytes: length, sha256: this.#sha256(from, length) });
    return start;
  }

  /** Piece by piece, so that no second copy of a large value is made. */
  #sha256(from: number, length: number): Uint8Array {
    const hasher = new Bun.CryptoHasher("sha256");
    const piece = Buffer.allocUnsafeSlow(HASHED_AT_ONCE);
    for (let at = 0; at < length; at += HASHED_AT_ONCE) {
      const size = Math.min(HASHED_AT_ONCE, length - at);
      this.#c.memcpy(addressOf(piece), address(from + at), size);
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
    for (let i = 0; this.#c.rd_kafka_header_get_all(list, i, name, value, length) === ErrorCode.none; i++) {
      const valueAt = scratch.get(2);
      const valueLength = scratch.get(3);
      const start = block.addHeader(
        Buffer.from(readText(scratch.get(1))),
        valueAt === 0 ? undefined : valueLength,
      );
      if (start === undefined || valueAt === 0 || valueLength === 0) continue;
      this.#c.memcpy(address(Number(ptr(block.bytes)) + start), address(valueAt), valueLength);
    }
  }
}

/** The field of two words at `index`; exact up to 2^53. */
function word(message: Uint32Array, index: number): number {
  return message[index]! + message[index + 1]! * WORD;
}

/** How many bytes of a key or value of this length are kept. */
function keptLength(length: number): number {
  return length > MAX_KEPT_BYTES ? CUT_BYTES : length;
}
