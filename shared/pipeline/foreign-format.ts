// Names the formats of other tools, where a rejected record has one: the error then says what to change.

import type { Rejection } from "../event.ts";

const OPEN_BRACE = 123;
/** A byte 0 and the id of a schema, 32 bits, big-endian; the data follow. */
const REGISTRY_HEADER_BYTES = 5;
const SCHEMA_FIRST = /^\s*\{\s*"schema"\s*:/;
const PAYLOAD = Buffer.from('"payload"');
/** Enough for the name of the first member. */
const BEGINNING_BYTES = 64;

/**
 * Adds to a rejection's error what format its record has.
 * @param bytes the buffer that holds the value
 * @param start where it starts, -1 for a tombstone
 * @param end where it ends (exclusive)
 */
export function withForeignFormat(
  rejection: Rejection,
  bytes: Buffer,
  start: number,
  end: number,
): Rejection {
  const format = foreignFormat(rejection, bytes, start, end);
  return format === undefined ? rejection : { ...rejection, error: `${rejection.error}: ${format}` };
}

function foreignFormat({ reason }: Rejection, bytes: Buffer, start: number, end: number): string | undefined {
  if (reason === "not_json" || reason === "not_utf8") {
    if (end - start <= REGISTRY_HEADER_BYTES || bytes[start] !== 0) return undefined;
    // The first character of a JSON object; as the number of a schema it would be above two billion.
    if (bytes[start + 1] === OPEN_BRACE) return "it looks like UTF-16; JSON in a record is UTF-8";
    const id = bytes.readUInt32BE(start + 1);
    const data = bytes[start + REGISTRY_HEADER_BYTES] === OPEN_BRACE ? "JSON" : "data that are not JSON";
    return (
      `it begins with the five bytes of a schema registry (schema ${id}), followed by ${data}; ` +
      "a producer without the registry's serializer sends plain JSON"
    );
  }
  if (reason !== "missing_field") return undefined;
  const beginning = bytes.toString("latin1", start, Math.min(end, start + BEGINNING_BYTES));
  if (!SCHEMA_FIRST.test(beginning) || !bytes.subarray(start, end).includes(PAYLOAD)) return undefined;
  return (
    "it is the envelope {schema, payload} of Kafka Connect; " +
    "value.converter.schemas.enable=false makes Connect send the payload alone"
  );
}
