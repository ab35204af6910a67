// Holds the events of a batch as rows of raw_events, in the bytes that COPY (FORMAT binary) takes.

import type { StoredEvent } from "../event.ts";
import type { EventReader } from "./event-reader.ts";
import { IdSet } from "./id-set.ts";
import { EVENT_ID, EVENT_TYPE, USER_ID } from "./record-scanner.ts";

// The format is described in PostgreSQL's manual, "COPY", "Binary Format": big-endian; each row is its number of
// fields, then the length and the bytes of each field.
const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** After the signature the flags and the length of the header's extension, both 0. */
const HEADER = Buffer.concat([SIGNATURE, Buffer.alloc(8)]);
/** Stands where the next row would have its number of fields. */
const TRAILER = -1;
const TRAILER_BYTES = 2;
const FIELDS = 7;
const JSONB_VERSION = 1;
/** The number of fields, a length for each, jsonb's version, and the three fields of eight bytes. */
const FIXED_BYTES = 2 + FIELDS * 4 + 1 + 3 * 8;
/** The epoch of timestamptz: 2000-01-01, ms since 1970. */
const TIMESTAMP_EPOCH_MS = 946_684_800_000;
const TWO_TO_32 = 2 ** 32;
/** Larger rows grow by this much at a time. */
const MAX_GROWTH_BYTES = 4 * 1024 * 1024;
/** Cleared rows give memory back where they used less than this share of it. */
const SHRINK_BELOW = 1 / 4;

/**
 * The events of a batch: of each its row, written once, and beside the rows what the aggregation and the metrics need,
 * in parallel arrays. An event that an INSERT or an error needs as an object is made from its row.
 */
export class EventRows {
  /** Number of events. */
  count = 0;
  /** True once two events have the same id. */
  hasRepeatedIds = false;
  /** Index of the event's record in the block. */
  readonly record: Int32Array;
  /** Milliseconds since 1970. */
  readonly timestampMs: Float64Array;
  /** Whole milliseconds; NaN where the event carries no duration. */
  readonly durationMs: Float64Array;
  readonly userId: string[] = [];
  readonly eventType: string[] = [];
  /** Of `bytes`, where the row begins. */
  readonly #start: Int32Array;
  readonly #ids: IdSet;
  readonly #initialBytes: number;
  /** The header, the rows, and room for the trailer. */
  #bytes: Buffer;
  #view: DataView;
  #used = HEADER.length;

  /** What the rows take in memory, bytes. */
  get bytesAllocated(): number {
    return this.#bytes.length;
  }

  constructor(maxEvents: number, initialBytes = 1 << 20) {
    this.record = new Int32Array(maxEvents);
    this.timestampMs = new Float64Array(maxEvents);
    this.durationMs = new Float64Array(maxEvents);
    this.#start = new Int32Array(maxEvents + 1);
    this.#ids = new IdSet(maxEvents);
    this.#initialBytes = initialBytes;
    this.#bytes = Buffer.allocUnsafeSlow(initialBytes);
    this.#view = viewOf(this.#bytes);
    HEADER.copy(this.#bytes);
    this.#start[0] = this.#used;
  }

  /**
   * Adds the event that a reader has just scanned.
   * @param record the index of its record in the block
   * @param processedAtMs ms since 1970
   */
  add(reader: EventReader, record: number, processedAtMs: number): void {
    this.#reserve(FIXED_BYTES + reader.maxBytes + TRAILER_BYTES);
    const bytes = this.#bytes;
    const index = this.count++;
    this.record[index] = record;
    this.timestampMs[index] = reader.timestampMs;
    this.durationMs[index] = reader.durationMs;
    this.userId.push(reader.userId);
    this.eventType.push(reader.eventType);

    let at = this.#int16(this.#used, FIELDS);
    const idStart = at + 4;
    at = this.#endField(at, reader.writeText(EVENT_ID, bytes, idStart));
    if (this.#ids.add(bytes, idStart, at)) this.hasRepeatedIds = true;
    at = this.#endField(at, reader.writeText(USER_ID, bytes, at + 4));
    at = this.#endField(at, reader.writeText(EVENT_TYPE, bytes, at + 4));
    bytes[at + 4] = JSONB_VERSION;
    at = this.#endField(at, reader.writeEventData(bytes, at + 5));
    if (Number.isNaN(reader.durationMs)) {
      at = this.#int32(at, -1);
    } else {
      at = this.#int32(at, 8);
      this.#view.setFloat64(at, reader.durationMs / 1000);
      at += 8;
    }
    at = this.#timestamp(at, reader.timestampMs, reader.timestampMicros);
    this.#used = this.#timestamp(at, processedAtMs, 0);
    this.#start[this.count] = this.#used;
  }

  /** The id of the event at `index`. */
  eventId(index: number): string {
    const at = this.#start[index]! + 2;
    return this.#bytes.toString("utf8", at + 4, this.#endOfField(at));
  }

  /** The event at `index`. */
  event(index: number): StoredEvent {
    const eventId = this.eventId(index);
    // Past the id, the user and the type.
    let at = this.#start[index]! + 2;
    for (let skipped = 0; skipped < 3; skipped++) at = this.#endOfField(at);
    const endOfData = this.#endOfField(at);
    const eventDataText = this.#bytes.toString("utf8", at + 5, endOfData);
    const durationMs = this.durationMs[index]!;
    const timestampAt = this.#endOfField(endOfData);
    const micros = this.#view.getBigInt64(timestampAt + 4) % 1000n;
    return {
      eventId,
      userId: this.userId[index]!,
      eventType: this.eventType[index]!,
      eventDataText,
      timestampMs: this.timestampMs[index]!,
      timestampMicros: Number(micros < 0n ? micros + 1000n : micros),
      durationMs: Number.isNaN(durationMs) ? undefined : durationMs,
    };
  }

  /**
   * The input of one COPY, valid until `add` or `clear`.
   * @param indexes of the events to store, in the order in which they are sent
   */
  copyInput(indexes: ArrayLike<number>): Buffer {
    return this.#areAll(indexes) ? this.#all() : this.#some(indexes);
  }

  clear(): void {
    const size = this.#bytes.length;
    if (size > this.#initialBytes && this.#used < size * SHRINK_BELOW) {
      this.#resize(Math.max(this.#initialBytes, size >>> 1), HEADER.length);
    }
    this.count = 0;
    this.hasRepeatedIds = false;
    this.userId.length = 0;
    this.eventType.length = 0;
    this.#ids.clear();
    this.#used = HEADER.length;
  }

  /** True where `indexes` are all events in their order. */
  #areAll(indexes: ArrayLike<number>): boolean {
    if (indexes.length !== this.count) return false;
    for (let i = 0; i < this.count; i++) if (indexes[i] !== i) return false;
    return true;
  }

  #all(): Buffer {
    this.#int16(this.#used, TRAILER);
    return this.#bytes.subarray(0, this.#used + TRAILER_BYTES);
  }

  #some(indexes: ArrayLike<number>): Buffer {
    const input = Buffer.allocUnsafeSlow(this.#used + TRAILER_BYTES);
    let at = HEADER.copy(input);
    for (let i = 0; i < indexes.length; i++) {
      at += this.#bytes.copy(input, at, this.#start[indexes[i]!], this.#start[indexes[i]! + 1]);
    }
    return input.subarray(0, input.writeInt16BE(TRAILER, at));
  }

  /** @param at where the length of a field stands, -1 for NULL */
  #endOfField(at: number): number {
    return at + 4 + Math.max(0, this.#view.getInt32(at));
  }

  /** Writes the length of a field whose length stands at `at`. @returns the field's end */
  #endField(at: number, end: number): number {
    this.#view.setInt32(at, end - at - 4);
    return end;
  }

  /** A timestamptz: microseconds since 2000, as a signed integer of 64 bits. */
  #timestamp(at: number, ms: number, micros: number): number {
    const view = this.#view;
    const start = this.#int32(at, 8);
    const sinceEpoch = (ms - TIMESTAMP_EPOCH_MS) * 1000 + micros;
    if (Number.isSafeInteger(sinceEpoch)) {
      view.setInt32(start, Math.floor(sinceEpoch / TWO_TO_32));
      // setUint32 takes its value modulo 2^32, also a negative one.
      view.setUint32(start + 4, sinceEpoch);
    } else {
      // From the year 2285 on.
      view.setBigInt64(start, BigInt(ms - TIMESTAMP_EPOCH_MS) * 1000n + BigInt(micros));
    }
    return start + 8;
  }

  #int16(at: number, value: number): number {
    this.#view.setInt16(at, value);
    return at + 2;
  }

  #int32(at: number, value: number): number {
    this.#view.setInt32(at, value);
    return at + 4;
  }

  /** Makes room for `length` further bytes. */
  #reserve(length: number): void {
    const needed = this.#used + length;
    const size = this.#bytes.length;
    // Doubling, but not far beyond what the largest block fills.
    if (needed > size) this.#resize(Math.max(needed, size + Math.min(size, MAX_GROWTH_BYTES)), this.#used);
  }

  #resize(length: number, kept: number): void {
    const bytes = Buffer.allocUnsafeSlow(length);
    this.#bytes.copy(bytes, 0, 0, kept);
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}
