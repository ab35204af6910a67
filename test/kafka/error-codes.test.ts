// Tests that error codes are librdkafka's, and what each kind of error means.
import { expect, test } from "bun:test";
import { ErrorCode, errorKind, errorMeaning } from "../../shared/kafka/error-codes.ts";
import { loadLibrary } from "../../shared/kafka/ffi/load-library.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";

await prepareNativeLibrary(() => {});
const library = loadLibrary();

test("every named error code is the one that librdkafka gives this name", () => {
  const names = Object.entries(ErrorCode).map(([name, code]) => [name, library.errorName(code)]);
  expect(Object.fromEntries(names)).toEqual({
    none: "NO_ERROR",
    unknownTopicOrPartition: "UNKNOWN_TOPIC_OR_PART",
    topicExists: "TOPIC_ALREADY_EXISTS",
    assignPartitions: "_ASSIGN_PARTITIONS",
    partitionEof: "_PARTITION_EOF",
    timedOut: "_TIMED_OUT",
    queueFull: "_QUEUE_FULL",
    fatal: "_FATAL",
    autoOffsetReset: "_AUTO_OFFSET_RESET",
    authentication: "_AUTHENTICATION",
    ssl: "_SSL",
    invalidArgument: "_INVALID_ARG",
    allBrokersDown: "_ALL_BROKERS_DOWN",
    criticalSystemResource: "_CRIT_SYS_RESOURCE",
    badCompression: "_BAD_COMPRESSION",
    notImplemented: "_NOT_IMPLEMENTED",
  });
});

test("an error has the kind of its code, and is retryable without a row in the table", () => {
  const kinds: Record<string, string[]> = {};
  for (let code = -200; code < 130; code++) {
    if (errorKind(code) !== "retryable") (kinds[errorKind(code)] ??= []).push(library.errorName(code));
  }
  expect(kinds).toEqual({
    record: ["_INVALID_ARG", "MSG_SIZE_TOO_LARGE"],
    authorization: [
      "TOPIC_AUTHORIZATION_FAILED",
      "GROUP_AUTHORIZATION_FAILED",
      "CLUSTER_AUTHORIZATION_FAILED",
    ],
    final: [
      "_UNSUPPORTED_FEATURE",
      "TOPIC_EXCEPTION",
      "INVALID_PARTITIONS",
      "INVALID_CONFIG",
      "INVALID_REQUEST",
      "POLICY_VIOLATION",
      "FENCED_INSTANCE_ID",
      "UNRELEASED_INSTANCE_ID",
    ],
  });
  const error = library.error(29, "a message");
  expect([error.kind, error.meaning]).toEqual(["authorization", "this user is not authorized"]);
  expect(error.message).toBe("a message (TOPIC_AUTHORIZATION_FAILED, 29)");
  expect(errorMeaning(-195)).toBeUndefined();
});
