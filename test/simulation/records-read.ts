// Finds the records that were read to move a stored offset, and proves where readings begin, also where the log was cut since.

import type { LogEntry, PartitionLog } from "./kafka/partition-log.ts";
import type { OffsetRow } from "./postgres/tables.ts";
import type { TopicRecord } from "./topic-record.ts";
import { violated } from "./violations.ts";

/** The last entry below the stored offset, as it was read; undefined where there is none, or its epoch is not known. */
export function lastEntry(log: PartitionLog, { nextOffset, leaderEpoch }: OffsetRow): LogEntry | undefined {
  return leaderEpoch === undefined ? undefined : log.entryOf(nextOffset - 1, leaderEpoch);
}

/** The records that were read to move an offset; the log may have been cut since. */
export function recordsOf(
  log: PartitionLog,
  before: OffsetRow,
  after: OffsetRow,
): { offset: number; record: TopicRecord }[] {
  const name = `${after.topicId}[${after.partition}]`;
  const last = lastEntry(log, after);
  if (last === undefined || last.leaderEpoch !== after.leaderEpoch) {
    violated(`${name} has no record at ${after.nextOffset - 1} of the epoch ${after.leaderEpoch}`);
  }
  const records = [];
  let entry: LogEntry | undefined = last;
  for (; entry !== undefined && entry.offset >= before.nextOffset; entry = entry.previous) {
    if (entry.record !== undefined) records.unshift({ offset: entry.offset, record: entry.record });
  }
  const lastBefore = lastEntry(log, before);
  // What retention has deleted cannot be read any more, whatever it was.
  const isLost = before.nextOffset <= log.beginning;
  if (lastBefore !== undefined && lastBefore !== entry && !isLost) {
    violated(`${name} is read on at ${before.nextOffset}, although its log was cut and rewritten below`);
  }
  return records;
}

/** True where one row is of the reading that follows the other's, which was closed for it. */
export function isNextReading(closed: OffsetRow, next: OffsetRow): boolean {
  return (
    closed.topicId === next.topicId &&
    closed.partition === next.partition &&
    closed.reading === next.reading - 1 &&
    closed.closedAtMs !== undefined
  );
}

/**
 * Proves that a reading begins at the beginning of the log, or where it was cut.
 * @param closed the reading before, as the same commit has closed it
 * @param hasStoredIds false: where the cut is not known, only what comes from now on is read
 */
export function expectStart(
  log: PartitionLog,
  start: OffsetRow,
  closed: OffsetRow | undefined,
  hasStoredIds: boolean,
): void {
  const name = `${start.topicId}[${start.partition}]`;
  const at = start.nextOffset;
  if (at !== start.firstOffset)
    violated(`${name} is entered at ${at}, its account begins at ${start.firstOffset}`);
  if (start.reading === 0) {
    if (at > log.beginning) violated(`${name} is entered at ${at}, its log begins at ${log.beginning}`);
    return;
  }
  if (closed === undefined) violated(`${name} has the reading ${start.reading} without the one before`);
  const isNothingLeft = at <= log.beginning;
  if (at > closed.nextOffset || (at === closed.nextOffset && hasStoredIds && !isNothingLeft))
    violated(`${name} is read again from ${at}, it was stored up to ${closed.nextOffset}`);
  const last = lastEntry(log, closed);
  const cutAt = last && log.endOfCommon(last);
  // Where the log was cut once more since, a known epoch tells as soon as the log is read from there.
  if (cutAt !== undefined && at > cutAt && start.leaderEpoch === undefined && hasStoredIds) {
    violated(`${name} is read again from ${at}, its log was cut at ${cutAt}`);
  }
}
