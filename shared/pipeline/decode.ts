// Decodes a record's bytes into a JSON value, or rejects them with a reason.

import { isUtf8 } from "node:buffer";
import type { Decoded, Rejection } from "../event.ts";
import { findUnstorableEscape, scanJson } from "./json-scan.ts";
import { makeRejection } from "./rejection.ts";

/** The largest accepted value, bytes; about Kafka's default limit for a record. */
export const MAX_VALUE_BYTES = 1_048_576;
/** How deep arrays and objects may nest, counting the record itself; far below the limit of PostgreSQL's parser. */
export const MAX_DEPTH = 100;

/**
 * Reads a record the plain way: strict UTF-8, then JSON.parse, then rejects what JSON.parse accepts and PostgreSQL
 * does not. This function and `validate` define what an event is; the fast reader may only agree with them.
 *
 * @param bytes the buffer that holds the value
 * @param start where the value starts, or -1 for a tombstone
 * @param end where it ends (exclusive)
 */
export function decode(bytes: Buffer, start: number, end: number): Decoded | Rejection {
  if (start < 0) return makeRejection("decode", "tombstone", "the record has no value");
  const length = end - start;
  if (length > MAX_VALUE_BYTES) {
    return makeRejection(
      "decode",
      "too_large",
      `the value has ${length} bytes; at most ${MAX_VALUE_BYTES} are accepted`,
    );
  }
  if (!isUtf8(bytes.subarray(start, end))) {
    return makeRejection("decode", "not_utf8", "the value is not valid UTF-8");
  }
  const text = bytes.toString("utf8", start, end);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the payload, which must not appear in an error.
    return makeRejection("decode", "not_json", `the value (${length} bytes) is not JSON`);
  }
  const { depth, member } = scanJson(text, "event_data");
  if (depth > MAX_DEPTH) {
    return makeRejection(
      "decode",
      "too_deep",
      `the value nests ${depth} levels deep; at most ${MAX_DEPTH} are accepted`,
    );
  }
  const hasEscapes = text.includes("\\");
  if (hasEscapes) {
    const unstorable = findUnstorableEscape(text);
    if (unstorable !== undefined) {
      return makeRejection("decode", "unstorable_text", `the value holds ${unstorable}`);
    }
  }
  return { value, eventDataText: member, hasEscapes };
}
