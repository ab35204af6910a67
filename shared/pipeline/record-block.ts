// Packs the bytes of raw records, in the order of their delivery, into one reused buffer.

const NEWLINE = 10;

/** A block that holds this many bytes counts as full, even with few records. */
export const MAX_BLOCK_BYTES = 16 * 1024 * 1024;

/**
 * A reusable block of raw records: one contiguous buffer for values and keys, and parallel arrays that
 * say where each record's bytes lie. The Kafka client fills it, the batch reads it, `clear` empties it.
 *
 * A newline follows every value, so that a reader that runs past a value's end meets a byte that no JSON token may
 * contain.
 */
export class RecordBlock {
  bytes: Buffer;
  /** Number of records held. */
  count = 0;
  /** Index into the client's list of topic partitions (`KafkaConsumer.topicPartition(slot)`). */
  readonly slot: Int32Array;
  /** Kafka offset; exact up to 2^53. */
  readonly offset: Float64Array;
  /** The epoch of the leader that wrote the record; -1 where it is not known. */
  readonly leaderEpoch: Int32Array;
  /** Start of the value in `bytes`, or -1 where the record has no value (a tombstone). */
  readonly valueStart: Int32Array;
  /** End (exclusive) of the value in `bytes`. */
  readonly valueEnd: Int32Array;
  /** Start of the key in `bytes`, or -1 where the record has no key. */
  readonly keyStart: Int32Array;
  readonly keyEnd: Int32Array;
  /** Encoded headers (see `encodeHeaders`) of the records that have any, by record index. */
  readonly headers = new Map<number, Buffer>();
  /** The most records the block holds. */
  readonly maxRecords: number;
  #used = 0;

  constructor(maxRecords: number, initialBytes = 1 << 20) {
    this.maxRecords = maxRecords;
    this.bytes = Buffer.allocUnsafeSlow(initialBytes);
    this.slot = new Int32Array(maxRecords);
    this.offset = new Float64Array(maxRecords);
    this.leaderEpoch = new Int32Array(maxRecords);
    this.valueStart = new Int32Array(maxRecords);
    this.valueEnd = new Int32Array(maxRecords);
    this.keyStart = new Int32Array(maxRecords);
    this.keyEnd = new Int32Array(maxRecords);
  }

  /** Bytes in use. */
  get used(): number {
    return this.#used;
  }

  get full(): boolean {
    return this.count >= this.maxRecords || this.#used >= MAX_BLOCK_BYTES;
  }

  /**
   * Reserves room for one value or key and the newline after it, growing the buffer when needed.
   * @param length bytes of the value or key
   * @returns where its first byte goes; `bytes` may be a new Buffer afterwards
   */
  reserve(length: number): number {
    const start = this.#used;
    const needed = start + length + 1;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
      this.bytes.copy(grown, 0, 0, start);
      this.bytes = grown;
    }
    this.bytes[needed - 1] = NEWLINE;
    this.#used = needed;
    return start;
  }

  /** A copy of the value of record `index`, or undefined for a tombstone. */
  value(index: number): Buffer | undefined {
    return this.#copy(this.valueStart[index]!, this.valueEnd[index]!);
  }

  /** A copy of the key of record `index`, or undefined where it has none. */
  key(index: number): Buffer | undefined {
    return this.#copy(this.keyStart[index]!, this.keyEnd[index]!);
  }

  clear(): void {
    this.count = 0;
    this.#used = 0;
    if (this.headers.size > 0) this.headers.clear();
  }

  #copy(start: number, end: number): Buffer | undefined {
    return start < 0 ? undefined : Buffer.from(this.bytes.subarray(start, end));
  }
}

/** One record header; `value` undefined stands for Kafka's null. */
export interface RecordHeader {
  name: string;
  value: Uint8Array | undefined;
}

/**
 * Encodes headers as bytes that can be stored and read back without loss: UTF-8 JSON, an array of
 * `[name, base64 of the value, or null]` in the record's order.
 */
export function encodeHeaders(headers: readonly RecordHeader[]): Buffer {
  return Buffer.from(
    JSON.stringify(
      headers.map(({ name, value }) => [
        name,
        value === undefined ? null : Buffer.from(value).toString("base64"),
      ]),
    ),
  );
}
