// Encodes events as the input of COPY (FORMAT binary) into raw_events.

import type { BatchEvent } from "../pipeline/batch.ts";

// The format is described in PostgreSQL's manual, "COPY", "Binary Format": big-endian; each row is its number of
// fields, then the length and the bytes of each field.
const SIGNATURE = Buffer.from("PGCOPY\n\xff\r\n\0", "latin1");
/** After the signature the flags and the length of the header's extension, both 0. */
const HEADER = Buffer.concat([SIGNATURE, Buffer.alloc(8)]);
const TRAILER_BYTES = 2;
const FIELDS = 7;
const JSONB_VERSION = 1;
/** The number of fields, a length for each, jsonb's version, and the three fields of eight bytes. */
const FIXED_BYTES = 2 + FIELDS * 4 + 1 + 3 * 8;
/** The most bytes that UTF-8 takes for one UTF-16 unit. */
const BYTES_PER_UNIT = 3;
/** The epoch of timestamptz: 2000-01-01, ms since 1970. */
const TIMESTAMP_EPOCH_MS = 946_684_800_000;
const TWO_TO_32 = 2 ** 32;
const LAST_ASCII = 127;
/** Rows are sent as soon as they take this many bytes, which bounds the memory; most batches take less. */
const BYTES_AT_ONCE = 4 * 1024 * 1024;

/** Encodes batches as rows of raw_events, in the order of its columns, in a buffer that is reused. */
export class CopyRows {
  #bytes = Buffer.alloc(0);
  #view = new DataView(new ArrayBuffer(0));
  #at = 0;

  constructor(initialBytes = 1 << 20) {
    this.#resize(initialBytes);
  }

  /**
   * The input of one COPY, in pieces of a few megabytes; each is valid until the next is asked for. The last is returned.
   * @param processedAtMs processed_at of all rows, ms since 1970
   */
  *encode(events: readonly BatchEvent[], processedAtMs: number): Generator<Buffer, Buffer> {
    this.#at = HEADER.copy(this.#bytes);
    for (const { event } of events) {
      if (this.#at >= BYTES_AT_ONCE) {
        yield this.#bytes.subarray(0, this.#at);
        this.#at = 0;
      }
      const { eventId, userId, eventType, eventDataText, durationMs } = event;
      const units = eventId.length + userId.length + eventType.length + eventDataText.length;
      this.#reserve(FIXED_BYTES + units * BYTES_PER_UNIT + TRAILER_BYTES);
      this.#int16(FIELDS);
      this.#text(eventId);
      this.#text(userId);
      this.#text(eventType);
      this.#jsonb(eventDataText);
      if (durationMs === undefined) this.#int32(-1);
      else this.#float8(durationMs / 1000);
      this.#timestamp(event.timestampMs, event.timestampMicros);
      this.#timestamp(processedAtMs, 0);
    }
    this.#int16(-1);
    return this.#bytes.subarray(0, this.#at);
  }

  /** A short text, nearly always ASCII: a loop is faster than a native call. */
  #text(text: string): void {
    const bytes = this.#bytes;
    const start = this.#at + 4;
    let length = text.length;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit > LAST_ASCII) {
        length = bytes.write(text, start);
        break;
      }
      bytes[start + i] = unit;
    }
    this.#int32(length);
    this.#at = start + length;
  }

  #jsonb(text: string): void {
    const start = this.#at + 5;
    const length = this.#bytes.write(text, start);
    this.#int32(length + 1);
    this.#bytes[this.#at] = JSONB_VERSION;
    this.#at = start + length;
  }

  #float8(value: number): void {
    this.#int32(8);
    this.#view.setFloat64(this.#at, value);
    this.#at += 8;
  }

  /** A timestamptz: microseconds since 2000, as a signed integer of 64 bits. */
  #timestamp(ms: number, micros: number): void {
    this.#int32(8);
    const sinceEpoch = (ms - TIMESTAMP_EPOCH_MS) * 1000 + micros;
    if (Number.isSafeInteger(sinceEpoch)) {
      this.#view.setInt32(this.#at, Math.floor(sinceEpoch / TWO_TO_32));
      // setUint32 takes its value modulo 2^32, also a negative one.
      this.#view.setUint32(this.#at + 4, sinceEpoch);
    } else {
      // From the year 2285 on.
      this.#view.setBigInt64(this.#at, BigInt(ms - TIMESTAMP_EPOCH_MS) * 1000n + BigInt(micros));
    }
    this.#at += 8;
  }

  #int16(value: number): void {
    this.#view.setInt16(this.#at, value);
    this.#at += 2;
  }

  #int32(value: number): void {
    this.#view.setInt32(this.#at, value);
    this.#at += 4;
  }

  /** Makes room for `length` further bytes. */
  #reserve(length: number): void {
    const needed = this.#at + length;
    if (needed > this.#bytes.length) this.#resize(Math.max(needed, this.#bytes.length * 2));
  }

  #resize(length: number): void {
    const bytes = Buffer.allocUnsafeSlow(length);
    this.#bytes.copy(bytes, 0, 0, this.#at);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
}
