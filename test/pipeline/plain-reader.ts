// Reads a record the plain way, by JSON.parse and a schema: the oracle that the event reader must agree with.
import { isUtf8 } from "node:buffer";
import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { PipelineEvent, Rejection, RejectionReason } from "../../shared/event.ts";
import { MAX_DEPTH, MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { makeRejection } from "../../shared/pipeline/rejection.ts";
import { parseTimestamp } from "../../shared/pipeline/timestamp.ts";
import { findUnstorableEscape, scanJson } from "./json-scan.ts";

const EventSchema = Type.Object({
  event_id: Type.String({ minLength: 1, maxLength: 100 }),
  user_id: Type.String({ minLength: 1, maxLength: 100 }),
  event_type: Type.String({ minLength: 1, maxLength: 50 }),
  timestamp: Type.String(),
  event_data: Type.Object({}),
  duration_seconds: Type.Optional(Type.Union([Type.Number({ minimum: 0, maximum: 1e9 }), Type.Null()])),
});

const compiled = Compile(EventSchema);

/** Reads a value as `EventReader.readValue` does. @param value undefined for a tombstone */
export function readPlainly(
  value: Uint8Array | undefined,
  nowMs: number,
  maxFutureSkewMs: number,
): PipelineEvent | Rejection {
  if (value === undefined) return makeRejection("decode", "tombstone", "the record has no value");
  const { length } = value;
  if (length > MAX_VALUE_BYTES) {
    const error = `the value has ${length} bytes; at most ${MAX_VALUE_BYTES} are accepted`;
    return makeRejection("decode", "too_large", error);
  }
  if (!isUtf8(value)) return makeRejection("decode", "not_utf8", "the value is not valid UTF-8");
  // Not TextDecoder, which removes a byte order mark.
  const text = Buffer.from(value).toString("utf8");
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return makeRejection("decode", "not_json", `the value (${length} bytes) is not JSON`);
  }
  const { depth, member } = scanJson(text, "event_data");
  if (depth > MAX_DEPTH) {
    const error = `the value nests ${depth} levels deep; at most ${MAX_DEPTH} are accepted`;
    return makeRejection("decode", "too_deep", error);
  }
  const unstorable = findUnstorableEscape(text);
  if (unstorable !== undefined) {
    return makeRejection("decode", "unstorable_text", `the value holds ${unstorable}`);
  }
  return validate(parsed, member ?? "{}", nowMs, maxFutureSkewMs);
}

function validate(
  value: unknown,
  eventDataText: string,
  nowMs: number,
  maxFutureSkewMs: number,
): PipelineEvent | Rejection {
  if (!compiled.Check(value)) return explain(value);
  const timestamp = parseTimestamp(value.timestamp);
  if (timestamp === undefined) {
    const error = "timestamp: not an ISO 8601 date and time with a zone in the years 1970 to 9999, UTC";
    return makeRejection("validate", "invalid_timestamp", error);
  }
  if (timestamp.ms - nowMs > maxFutureSkewMs) {
    const ahead = `${Math.ceil((timestamp.ms - nowMs) / 1000)} s ahead of the database's clock`;
    const error = `timestamp: ${ahead}; at most ${maxFutureSkewMs / 1000} s are accepted`;
    return makeRejection("validate", "future_timestamp", error);
  }
  if (numbersOf(eventDataText).some((number) => writtenOut(number).length > 1000)) {
    const error = "event_data: a number has more than 1000 digits when written out";
    return makeRejection("validate", "out_of_range", error);
  }
  const { duration_seconds: duration, event_data } = value;
  const amount = value.event_type === "purchase" ? (event_data as { amount?: unknown }).amount : undefined;
  return {
    eventId: value.event_id,
    userId: value.user_id,
    eventType: value.event_type,
    timestampMs: timestamp.ms,
    timestampMicros: timestamp.micros,
    eventDataText,
    purchaseAmount: typeof amount === "number" ? amount : undefined,
    durationMs: typeof duration === "number" ? Math.round(duration * 1000) + 0 : undefined,
  };
}

/** The numbers of a JSON text, as they stand there. */
function numbersOf(text: string): string[] {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"/g, "").match(/-?\d[\d.eE+-]*/g) ?? [];
}

/** The digits of a JSON number without its exponent. */
export function writtenOut(number: string): string {
  const [, whole = "", fraction = "", exponent = "0"] = /^-?(\d+)(?:\.(\d+))?(?:[eE](.+))?$/.exec(number)!;
  const digits = whole + fraction;
  // PostgreSQL refuses such an exponent of any number.
  if (Math.abs(Number(exponent)) > 1e9) return "9".repeat(1001);
  // A larger exponent makes no difference: the digits are too many by far.
  const point = whole.length + Math.max(-20_000, Math.min(20_000, Number(exponent)));
  const padded = point <= 0 ? "0".repeat(1 - point) + digits : digits.padEnd(point, "0");
  const wholeDigits = Math.max(1, point);
  return padded.slice(0, wholeDigits).replace(/^0+(?=\d)/, "") + padded.slice(wholeDigits);
}

const REASON_BY_KEYWORD: Readonly<Record<string, RejectionReason>> = {
  required: "missing_field",
  type: "wrong_type",
  anyOf: "wrong_type",
  minLength: "out_of_range",
  maxLength: "out_of_range",
  minimum: "out_of_range",
  maximum: "out_of_range",
};

/** Names the first violation of the schema. */
function explain(value: unknown): Rejection {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return makeRejection("validate", "not_an_object", "the value is JSON, but not an object");
  }
  const errors = compiled.Errors(value);
  // A union reports each of its branches; a number out of range says more than "must be null".
  const first = errors.find(({ keyword }) => keyword === "minimum" || keyword === "maximum") ?? errors[0];
  if (first === undefined) throw new Error("the schema rejects a value without an error");
  if (first.keyword === "required") {
    return makeRejection(
      "validate",
      "missing_field",
      `${first.params.requiredProperties.join(", ")}: missing`,
    );
  }
  const field = first.instancePath.slice(1);
  const given = (value as Partial<Record<string, unknown>>)[field];
  // JSON has no infinity: JSON.parse returns it for a number beyond the range of a double, such as 1e400.
  if (given === Infinity || given === -Infinity) {
    return makeRejection("validate", "out_of_range", `${field}: beyond the range of a double`);
  }
  const reason = REASON_BY_KEYWORD[first.keyword] ?? "wrong_type";
  return makeRejection("validate", reason, `${field}: ${first.message}`);
}
