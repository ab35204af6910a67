// Keeps a record's headers as bytes, and turns them into the form in which dead letters store them.

/** One record header; `value` undefined stands for Kafka's null. */
export interface RecordHeader {
  readonly name: string;
  readonly value: Uint8Array | undefined;
}

const LENGTH_BYTES = 4;
const NULL_LENGTH = -1;

/** Bytes that a header takes beside those of its name and value: their lengths. */
export const HEADER_OVERHEAD_BYTES = 2 * LENGTH_BYTES;

/**
 * Writes one header: the length and the bytes of its name, then of its value (length -1: null). The lengths are signed
 * integers of 32 bits, little-endian.
 * @returns where the bytes of the value go, which the caller writes
 */
export function writeHeader(
  bytes: Buffer,
  at: number,
  name: Uint8Array,
  valueLength: number | undefined,
): number {
  bytes.writeInt32LE(name.length, at);
  bytes.set(name, at + LENGTH_BYTES);
  return bytes.writeInt32LE(valueLength ?? NULL_LENGTH, at + LENGTH_BYTES + name.length);
}

/**
 * Reads the headers of a record from `bytes`.
 * @param gap how many bytes lie between two headers
 */
export function readHeaders(bytes: Buffer, gap: number): RecordHeader[] {
  const headers: RecordHeader[] = [];
  for (let at = 0; at < bytes.length; at += gap) {
    const nameEnd = at + LENGTH_BYTES + bytes.readInt32LE(at);
    const name = bytes.toString("utf8", at + LENGTH_BYTES, nameEnd);
    const length = bytes.readInt32LE(nameEnd);
    at = nameEnd + LENGTH_BYTES + Math.max(0, length);
    headers.push({ name, value: length === NULL_LENGTH ? undefined : bytes.subarray(at - length, at) });
  }
  return headers;
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
