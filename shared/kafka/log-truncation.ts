// Recognizes librdkafka's report that a log was cut off below the position of the consumer.
import type { ErrorReport } from "./client.ts";
import { ErrorCode } from "./error-codes.ts";

export interface LogTruncation {
  /** The epoch of the last record that the consumer had read, which the leader has compared. */
  readonly readEpoch: number;
  /**
   * Where the log ends that the consumer has read; other records may stand behind it by now. Undefined where the
   * leader does not know the consumer's leader epoch, and so cannot tell.
   */
  readonly end: number | undefined;
  /** The epoch of the records below `end`, or of a leader after them. */
  readonly endEpoch: number | undefined;
}

const POSITION = /\(leader epoch (-?\d+)\)/;
const END = /broker end offset is (\d+) \(offset leader epoch (\d+)\)/;

/**
 * Returns undefined for an error of another kind.
 * @param error its message alone tells the cut log from an offset out of range, and has the end: "Partition log
 *   truncation detected at offset 1000 (leader epoch 4): broker end offset is 600 (offset leader epoch 3). ..."
 */
export function logTruncation({ code, message }: ErrorReport): LogTruncation | undefined {
  if (code !== ErrorCode.autoOffsetReset || !message.includes("log truncation")) return undefined;
  const readEpoch = Number(POSITION.exec(message)?.[1] ?? -1);
  const [, end, endEpoch] = END.exec(message) ?? [];
  if (end === undefined) return { readEpoch, end: undefined, endEpoch: undefined };
  return { readEpoch, end: Number(end), endEpoch: Number(endEpoch) };
}
