// Explains why librdkafka cannot read a batch of records.
import type { ErrorReport } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";

/** By the number that stands in the header of a batch. */
const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"];

/**
 * Returns one clause for a person; undefined for an error of another kind.
 * @param error its message holds the codec's number: "Decompression (codec 0x1) of message at ... failed: ..."
 */
export function unreadableReason({ code, message }: ErrorReport): string | undefined {
  if (code !== ErrorCode.notImplemented && code !== ErrorCode.badCompression) return undefined;
  const codec = CODECS[Number(/\(codec (0x\d+)\)/.exec(message)?.[1])];
  if (codec === undefined) return message;
  return code === ErrorCode.notImplemented
    ? `its records are compressed with ${codec}, which this librdkafka lacks`
    : `a batch of records compressed with ${codec} is damaged`;
}
