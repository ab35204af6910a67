// Packs the bytes of raw records, in the order of their delivery, into one reused buffer.

import { MAX_VALUE_BYTES } from "./event-reader.ts";
import { encodeHeaders, HEADER_OVERHEAD_BYTES, readHeaders, writeHeader } from "./record-headers.ts";

const NEWLINE = 10;

/** A block that holds this many bytes counts as full, even with few records. */
export const MAX_BLOCK_BYTES = 16 * 1024 * 1024;
/** Keys and values up to this size are kept whole, and headers up to this size in all. */
export const MAX_KEPT_BYTES = MAX_VALUE_BYTES;
/** So many bytes are kept of a larger key or value. */
export const CUT_BYTES = 65_536;
/** The last record of a block may take it past MAX_BLOCK_BYTES by its key, its value and its headers. */
const MAX_BUFFER_BYTES = MAX_BLOCK_BYTES + 4 * MAX_KEPT_BYTES;
/** A cleared block gives memory back where it used less than this share of it. */
const SHRINK_BELOW = 1 / 4;

/** A key or value of which only the first bytes are kept. */
export interface CutPart {
  /** Its true length. */
  readonly bytes: number;
  /** SHA-256 of the whole. */
  readonly sha256: Uint8Array;
}

/** Where the headers of a record lie. */
interface HeaderSpan {
  start: number;
  end: number;
  /** Bytes of all names and values, also of headers that are not kept. */
  bytes: number;
  isCut: boolean;
}

/**
 * A reusable block of raw records: one contiguous buffer for values, keys and headers, and parallel arrays that
 * say where each record's bytes lie. The Kafka client fills it, the batch reads it, `clear` empties it.
 *
 * Its memory is bounded, whatever the records are: everything that is kept of them counts as `used`, and of what is
 * too large only the beginning is kept.
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
  /** Values and keys that are not kept whole, by record index. */
  readonly cutValues = new Map<number, CutPart>();
  readonly cutKeys = new Map<number, CutPart>();
  /** A block with this many records counts as full; at most what it was made for. */
  limit: number;
  readonly #headers = new Map<number, HeaderSpan>();
  readonly #minBytes: number;
  #used = 0;

  constructor(maxRecords: number, initialBytes = 1 << 20) {
    this.limit = maxRecords;
    this.#minBytes = initialBytes;
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
    return this.count >= this.limit || this.#used >= MAX_BLOCK_BYTES;
  }

  /**
   * Reserves room for one value, key or header and the newline after it, growing the buffer when needed.
   * @param length bytes, at most MAX_KEPT_BYTES for each part of a record
   * @returns where its first byte goes; `bytes` may be a new Buffer afterwards
   */
  reserve(length: number): number {
    const start = this.#used;
    const needed = start + length + 1;
    if (needed > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(
        Math.max(needed, Math.min(this.bytes.length * 2, MAX_BUFFER_BYTES)),
      );
      this.bytes.copy(grown, 0, 0, start);
      this.bytes = grown;
    }
    this.bytes[needed - 1] = NEWLINE;
    this.#used = needed;
    return start;
  }

  /** Notes how many records and bytes the block holds, after its columns and bytes were written from outside. */
  filled(count: number, used: number): void {
    this.count = count;
    this.#used = used;
  }

  /** Notes that the next record has headers, even if none follow. Call it before `addHeader`. */
  beginHeaders(): void {
    this.#headers.set(this.count, { start: this.#used, end: this.#used, bytes: 0, isCut: false });
  }

  /**
   * Adds one header of the next record, if all of its headers up to this one are small enough to be kept.
   * @param valueLength undefined for null
   * @returns where the caller has to write the value; undefined where the header is not kept
   */
  addHeader(name: Uint8Array, valueLength: number | undefined): number | undefined {
    const headers = this.#headers.get(this.count)!;
    const length = name.length + (valueLength ?? 0);
    headers.bytes += length;
    const kept = headers.end - headers.start + HEADER_OVERHEAD_BYTES + length;
    if (headers.isCut || kept > MAX_KEPT_BYTES) {
      headers.isCut = true;
      return undefined;
    }
    const start = this.reserve(HEADER_OVERHEAD_BYTES + length);
    headers.end = this.#used - 1;
    return writeHeader(this.bytes, start, name, valueLength);
  }

  /** The length of the value of record `index`, also where it is not kept whole; 0 for a tombstone. */
  valueLength(index: number): number {
    return this.cutValues.get(index)?.bytes ?? this.valueEnd[index]! - this.valueStart[index]!;
  }

  /** The kept bytes of the value of record `index`, valid until `clear`; undefined for a tombstone. */
  value(index: number): Buffer | undefined {
    return this.#view(this.valueStart[index]!, this.valueEnd[index]!);
  }

  /** The kept bytes of the key of record `index`, valid until `clear`; undefined where it has none. */
  key(index: number): Buffer | undefined {
    return this.#view(this.keyStart[index]!, this.keyEnd[index]!);
  }

  /** The kept headers of record `index`, encoded; undefined where it has none. */
  headers(index: number): Buffer | undefined {
    const headers = this.#headers.get(index);
    return headers && encodeHeaders(readHeaders(this.bytes.subarray(headers.start, headers.end), 1));
  }

  /** Bytes of the names and values of all headers of record `index`, where not all are kept. */
  cutHeaderBytes(index: number): number | undefined {
    const headers = this.#headers.get(index);
    return headers?.isCut === true ? headers.bytes : undefined;
  }

  /** Empties the block. A buffer that has become too large for its use shrinks by half. */
  clear(): void {
    const size = this.bytes.length;
    if (size > this.#minBytes && this.#used < size * SHRINK_BELOW) {
      this.bytes = Buffer.allocUnsafeSlow(Math.max(this.#minBytes, size >>> 1));
    }
    this.count = 0;
    this.#used = 0;
    if (this.#headers.size > 0) this.#headers.clear();
    if (this.cutValues.size > 0) this.cutValues.clear();
    if (this.cutKeys.size > 0) this.cutKeys.clear();
  }

  #view(start: number, end: number): Buffer | undefined {
    return start < 0 ? undefined : this.bytes.subarray(start, end);
  }
}
