// Compiles record-loop.c, which moves records into a block without a call from JavaScript for each of them.
import { cc } from "bun:ffi";
import { join } from "node:path";
import { MAX_BLOCK_BYTES, MAX_KEPT_BYTES, type RecordBlock } from "../../pipeline/record-block.ts";
import type { PartitionTable } from "../partition-table.ts";
import type { Functions } from "./library.ts";
import { address, addressOf, type Pointer, WORD } from "./memory.ts";

const SOURCE = join(import.meta.dir, "record-loop.c");
/** In a record a key and its value lie side by side, with the value's length (1 to 5 bytes) between them. */
const MAX_GAP_BYTES = 8;

// Where the members of `struct loop` lie, in words of 64 bits.
const FUNCTIONS = 7;
const INPUTS = 18;
const COUNT = FUNCTIONS + INPUTS;
const USED = COUNT + 1;
const BROKER = COUNT + 2;
const EVENT = COUNT + 3;
const MESSAGE = COUNT + 4;
const WORDS = COUNT + 5;

/** What the loop does not take: an event, and the message in it, if there is one. */
export interface HandedOver {
  readonly event: Pointer;
  readonly message: Pointer | undefined;
}

let compiled: { readonly loop: RecordLoop | undefined } | undefined;

/** The loop of this thread; undefined where Bun has no C compiler for the platform. */
export function recordLoop(c: Functions): RecordLoop | undefined {
  compiled ??= { loop: compile(c) };
  return compiled.loop;
}

function compile(c: Functions): RecordLoop | undefined {
  try {
    return new RecordLoop(c);
  } catch {
    return undefined;
  }
}

/** The loop in C, of one thread. */
export class RecordLoop {
  readonly #takeRecords: (loop: Pointer) => number;
  readonly #loop = new BigUint64Array(new ArrayBuffer(8 * WORDS));
  /** The same memory, two numbers a word, the lower half first. */
  readonly #halves = new Uint32Array(this.#loop.buffer);
  readonly #at = addressOf(this.#halves);

  /** The id of the broker that delivered the last record of the last run; undefined where it took none. */
  broker: number | undefined;

  /** @throws Error where the source does not compile, or Bun has no C compiler for the platform */
  constructor(c: Functions) {
    const { symbols } = cc({
      source: SOURCE,
      symbols: { take_records: { args: ["ptr"], returns: "i32" } },
    });
    this.#takeRecords = symbols.take_records;
    const functions = [
      c.rd_kafka_queue_poll,
      c.rd_kafka_event_message_next,
      c.rd_kafka_message_headers,
      c.rd_kafka_message_leader_epoch,
      c.rd_kafka_message_broker_id,
      c.rd_kafka_event_destroy,
      c.memcpy,
    ];
    this.#write(0, functions.map(pointerOf));
  }

  /**
   * Moves plain records from a queue into a block until the block is full, the queue is empty, or something else comes.
   * @returns that, to be freed; else undefined
   */
  run(queue: Pointer, block: RecordBlock, table: PartitionTable): HandedOver | undefined {
    const { handle, slots } = table.lastTopic;
    const { slot, leaderEpoch, keyStart, keyEnd, valueStart, valueEnd, offset } = block;
    const arrays = [block.bytes, slot, leaderEpoch, keyStart, keyEnd, valueStart, valueEnd, offset];
    const first = block.count;
    this.#write(FUNCTIONS, [
      queue,
      handle,
      addressOf(slots),
      slots.length,
      addressOf(table.nextOffset),
      ...arrays.map(addressOf),
      block.limit,
      MAX_BLOCK_BYTES,
      block.bytes.length,
      MAX_KEPT_BYTES,
      MAX_GAP_BYTES,
      first,
      block.used,
    ]);
    const isHandedOver = this.#takeRecords(this.#at) === 1;
    block.filled(this.#read(COUNT), this.#read(USED));
    this.broker = block.count > first ? this.#read(BROKER) : undefined;
    if (!isHandedOver) return undefined;
    const message = this.#read(MESSAGE);
    return {
      event: address(this.#read(EVENT)),
      message: message === 0 ? undefined : address(message),
    };
  }

  #write(word: number, values: readonly number[]): void {
    for (const [index, value] of values.entries()) {
      this.#halves[2 * (word + index)] = value % WORD;
      this.#halves[2 * (word + index) + 1] = Math.floor(value / WORD);
    }
  }

  #read(word: number): number {
    return this.#halves[2 * word]! + this.#halves[2 * word + 1]! * WORD;
  }
}

/** The address of a C function. */
function pointerOf(call: object): number {
  if (!("ptr" in call) || typeof call.ptr !== "number") throw new Error("a function without an address");
  return call.ptr;
}
