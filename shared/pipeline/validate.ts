// Validates a decoded record into an event, or names the field that is wrong.

import { type Static, Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Decoded, PipelineEvent, Rejection, RejectionReason } from "../event.ts";
import { isRejection, makeRejection } from "./rejection.ts";
import { type Instant, parseTimestamp } from "./timestamp.ts";

/** Lengths count code points, as PostgreSQL does. Fields not named here are allowed and not stored. */
const EventSchema = Type.Object({
  event_id: Type.String({ minLength: 1, maxLength: 100 }),
  user_id: Type.String({ minLength: 1, maxLength: 100 }),
  event_type: Type.String({ minLength: 1, maxLength: 50 }),
  timestamp: Type.String(),
  event_data: Type.Object({}),
  duration_seconds: Type.Optional(Type.Union([Type.Number({ minimum: 0, maximum: 1e9 }), Type.Null()])),
});
type RawEvent = Static<typeof EventSchema>;

const compiled = Compile(EventSchema);

/**
 * Checks a decoded record against `EventSchema`, and its timestamp against the calendar and the clock.
 *
 * @param decoded what `decode` returned
 * @param nowMs the database's clock, milliseconds since 1970
 * @param maxFutureSkewMs how far ahead of that clock a timestamp may be
 */
export function validate(
  decoded: Decoded,
  nowMs: number,
  maxFutureSkewMs: number,
): PipelineEvent | Rejection {
  const { value } = decoded;
  if (!compiled.Check(value)) return explain(value);
  const timestamp = parseTimestamp(value.timestamp);
  if (timestamp === undefined) {
    return makeRejection(
      "validate",
      "invalid_timestamp",
      "timestamp: not an ISO 8601 date and time with a zone in the years 1970 to 9999, UTC",
    );
  }
  if (timestamp.ms - nowMs > maxFutureSkewMs) {
    const aheadSeconds = Math.ceil((timestamp.ms - nowMs) / 1000);
    return makeRejection(
      "validate",
      "future_timestamp",
      `timestamp: ${aheadSeconds} s ahead of the database's clock; at most ${maxFutureSkewMs / 1000} s are accepted`,
    );
  }
  return toEvent(value, timestamp, decoded.eventDataText ?? "{}");
}

function toEvent(raw: RawEvent, timestamp: Instant, eventDataText: string): PipelineEvent {
  const duration = raw.duration_seconds;
  const amount = raw.event_type === "purchase" ? (raw.event_data as { amount?: unknown }).amount : undefined;
  return {
    eventId: raw.event_id,
    userId: raw.user_id,
    eventType: raw.event_type,
    timestampMs: timestamp.ms,
    timestampMicros: timestamp.micros,
    eventDataText,
    purchaseAmount: typeof amount === "number" ? amount : undefined,
    // + 0 turns -0 into 0: PostgreSQL would store and print -0.
    durationMs: duration === null || duration === undefined ? undefined : Math.round(duration * 1000) + 0,
  };
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
    const names = first.params.requiredProperties.join(", ");
    return makeRejection("validate", "missing_field", `${names}: missing`);
  }
  const field = first.instancePath.slice(1);
  const given = (value as Record<string, unknown>)[field];
  // JSON has no infinity: JSON.parse returns it for a number beyond the range of a double, such as 1e400.
  if (given === Infinity || given === -Infinity) {
    return makeRejection("validate", "out_of_range", `${field}: beyond the range of a double`);
  }
  return makeRejection(
    "validate",
    REASON_BY_KEYWORD[first.keyword] ?? "wrong_type",
    `${field}: ${first.message}`,
  );
}

/**
 * Why a decoded record is rejected as of a moment; undefined where it is an event. The check repeats the pipeline's
 * validation of a dead letter with it.
 */
export function rejectionOf(
  decoded: Decoded | Rejection,
  nowMs: number,
  maxFutureSkewMs: number,
): Rejection | undefined {
  if (isRejection(decoded)) return decoded;
  const event = validate(decoded, nowMs, maxFutureSkewMs);
  return isRejection(event) ? event : undefined;
}
