// Tests the words for batches that librdkafka cannot read.
import { describe, expect, test } from "bun:test";
import { unreadableReason } from "../../shared/kafka/unreadable-reason.ts";

const NOT_IMPLEMENTED = -170;
const BAD_COMPRESSION = -198;

/** An error as librdkafka reports it, see rd_kafka_msgset_reader_decompress. */
function report(code: number, codec: number, text: string) {
  const message = `Decompression (codec 0x${codec}) of message at 7 of 180 bytes failed: Local: ${text}`;
  return { code, name: "", message, fatal: false };
}

describe("the reason why a batch cannot be read", () => {
  test("is the codec that librdkafka lacks", () => {
    expect(unreadableReason(report(NOT_IMPLEMENTED, 1, "Not implemented"))).toBe(
      "its records are compressed with gzip, which this librdkafka lacks",
    );
    expect(unreadableReason(report(NOT_IMPLEMENTED, 4, "Not implemented"))).toContain("with zstd,");
  });

  test("is the damage of a batch", () => {
    expect(unreadableReason(report(BAD_COMPRESSION, 2, "Invalid compressed data"))).toBe(
      "a batch of records compressed with snappy is damaged",
    );
  });

  test("is librdkafka's message where that names no codec that is known", () => {
    const message = "Unsupported Message(Set) MagicByte 9 at offset 4";
    expect(unreadableReason({ code: NOT_IMPLEMENTED, name: "", message, fatal: false })).toBe(message);
    expect(unreadableReason(report(NOT_IMPLEMENTED, 7, "Not implemented"))).toStartWith(
      "Decompression (codec 0x7)",
    );
  });

  test("is absent for errors that concern no batch", () => {
    expect(
      unreadableReason({ code: -185, name: "_TIMED_OUT", message: "timed out", fatal: false }),
    ).toBeUndefined();
  });
});
