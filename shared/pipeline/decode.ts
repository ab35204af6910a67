// A record's bytes in; the JSON value they hold out, or the reason why they hold none.

import { isUtf8 } from "node:buffer";
import type { Decoded, Rejection } from "../event.ts";
import { findUnstorableEscape, scanJson } from "./json-scan.ts";
import { makeRejection } from "./rejection.ts";

/** The largest value that is taken for an event, bytes; about Kafka's own default limit for a record. */
export const MAX_VALUE_BYTES = 1_048_576;
/** How deep arrays and objects may nest, the record itself being 1; far below what PostgreSQL's parser takes. */
export const MAX_DEPTH = 100;

/**
 * The plain way to read a record: strict UTF-8, then JSON.parse, then a refusal of what JSON.parse takes
 * and PostgreSQL does not. It decides what is an event; a faster reader may only agree with it.
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
      `the value has ${length} bytes; at most ${MAX_VALUE_BYTES} are taken`,
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
    // The parser's own message quotes the payload, which has no place in an error.
    return makeRejection("decode", "not_json", `the value (${length} bytes) is not JSON`);
  }
  const { depth, member } = scanJson(text, "event_data");
  if (depth > MAX_DEPTH) {
    return makeRejection(
      "decode",
      "too_deep",
      `the value nests ${depth} levels deep; at most ${MAX_DEPTH} are taken`,
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
