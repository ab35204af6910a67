// Names the error codes of Kafka and librdkafka that decide something, and classifies all of them.

/**
 * Codes (rd_kafka_resp_err_t) that the program compares with. Positive ones are the protocol's, negative ones
 * librdkafka's own.
 */
export const ErrorCode = {
  none: 0,
  unknownTopicOrPartition: 3,
  topicExists: 36,
  assignPartitions: -175,
  partitionEof: -191,
  timedOut: -185,
  queueFull: -184,
  fatal: -150,
  autoOffsetReset: -140,
  badCompression: -198,
  notImplemented: -170,
  authentication: -169,
  ssl: -181,
  invalidArgument: -186,
  allBrokersDown: -187,
  criticalSystemResource: -194,
} as const;

/**
 * - `retryable`: it may pass; wait and try again
 * - `authorization`: the user lacks a right; every attempt fails until a person grants it
 * - `record`: Kafka or librdkafka refuses what it was given; another record may pass
 * - `final`: no retry of this request helps
 */
export type ErrorKind = "retryable" | "authorization" | "record" | "final";

interface Row {
  readonly kind: ErrorKind;
  /** One clause for a person, to stand after a colon. */
  readonly meaning: string;
}

const NOT_AUTHORIZED: Row = { kind: "authorization", meaning: "this user is not authorized" };
const NO_ANSWER: Row = { kind: "retryable", meaning: "Kafka does not answer" };

/** By code. A code without a row is retryable, and librdkafka's text says what it means. */
const ROWS: Readonly<Record<number, Row>> = {
  10: { kind: "record", meaning: "the record is too large" }, // MSG_SIZE_TOO_LARGE
  17: { kind: "final", meaning: "the topic's name is not valid" }, // TOPIC_EXCEPTION
  29: NOT_AUTHORIZED, // TOPIC_AUTHORIZATION_FAILED
  30: NOT_AUTHORIZED, // GROUP_AUTHORIZATION_FAILED
  31: NOT_AUTHORIZED, // CLUSTER_AUTHORIZATION_FAILED
  37: { kind: "final", meaning: "the number of partitions is not valid" }, // INVALID_PARTITIONS
  40: { kind: "final", meaning: "a setting of the topic is not valid" }, // INVALID_CONFIG
  42: { kind: "final", meaning: "the request is not valid" }, // INVALID_REQUEST
  44: { kind: "final", meaning: "a policy of the cluster forbids it" }, // POLICY_VIOLATION
  82: { kind: "final", meaning: "another consumer runs with the same KAFKA_CONFIG_GROUP_INSTANCE_ID" }, // FENCED_INSTANCE_ID
  // UNRELEASED_INSTANCE_ID
  111: {
    kind: "final",
    meaning:
      "another consumer runs with the same KAFKA_CONFIG_GROUP_INSTANCE_ID, or ran until it was killed: then its place is free when its session has ended",
  },
  [-165]: { kind: "final", meaning: "the broker does not support this request" }, // _UNSUPPORTED_FEATURE
  [ErrorCode.invalidArgument]: { kind: "record", meaning: "librdkafka does not accept it" },
  [ErrorCode.timedOut]: NO_ANSWER,
  [ErrorCode.allBrokersDown]: NO_ANSWER,
};

/** @returns what to do about an error of this code (rd_kafka_resp_err_t) */
export function errorKind(code: number): ErrorKind {
  return ROWS[code]?.kind ?? "retryable";
}

/** One clause for a person; undefined for a code without a row. */
export function errorMeaning(code: number): string | undefined {
  return ROWS[code]?.meaning;
}
