// Finds and updates rows of pipeline_offsets, as several statements do.

import { numbers, texts } from "./array-values.ts";
import { type Entry, visibleRow } from "./row-table.ts";
import { type Answer, compareTexts, type Parameters, type StatementContext } from "./statement.ts";
import { keyOf, type OffsetRow } from "./tables.ts";

export const OFFSETS = "pipeline_offsets";

/** A row that a statement sees. */
export interface FoundOffset {
  readonly entry: Entry<OffsetRow>;
  /** The row as the statement's snapshot has it. */
  readonly row: OffsetRow;
}

/** Topic, topic id and partition, from three array parameters that begin at `at`. */
export function partitionsAt(parameters: Parameters, at: number): [string, string, number][] {
  const topicIds = texts(parameters[at + 1] as string);
  const partitions = numbers(parameters[at + 2] as string);
  return texts(parameters[at] as string).map((topic, index) => [topic, topicIds[index]!, partitions[index]!]);
}

/** The key of a row. */
export function offsetKey(topic: string, topicId: string, partition: number, reading: number): string {
  return keyOf(topic, topicId, partition, reading);
}

/** The row of a key, if the statement sees one. */
export function findReading({ tables, transaction }: StatementContext, key: string): FoundOffset[] {
  const entry = tables.offsets.get(key);
  const row = entry === undefined ? undefined : visibleRow(entry, transaction);
  return entry === undefined || row === undefined ? [] : [{ entry, row }];
}

/** The row of a partition's current reading, if the statement sees one. */
export function findCurrent(
  context: StatementContext,
  [topic, topicId, partition]: readonly [string, string, number],
): FoundOffset[] {
  for (let reading = 0; ; reading++) {
    const found = findReading(context, offsetKey(topic, topicId, partition, reading));
    if (found.length === 0 || isCurrent(found[0]!.row)) return found;
  }
}

export function isCurrent({ closedAtMs }: OffsetRow): boolean {
  return closedAtMs === undefined;
}

export function compareOffsets(a: OffsetRow, b: OffsetRow): number {
  return compareTexts(a.topic, b.topic) || compareTexts(a.topicId, b.topicId) || a.partition - b.partition;
}

/**
 * Updates the row that a condition selects, by the snapshot first and again after a wait.
 * @returns the row as it is then; undefined where none is selected
 */
export async function updateOffset(
  { transaction, tables }: StatementContext,
  { entry, row }: FoundOffset,
  isSelected: (row: OffsetRow) => boolean,
  change: (row: OffsetRow) => OffsetRow,
): Promise<OffsetRow | undefined> {
  if (!isSelected(row)) return undefined;
  await transaction.lock(tables.offsets, entry);
  const current = visibleRow(entry, transaction)!;
  if (!isSelected(current)) return undefined;
  const changed = change(current);
  transaction.write(tables.offsets, entry, changed);
  return changed;
}

/** The row of a reading that nothing was read of yet. */
export function newOffset(
  [topic, topicId, partition]: readonly [string, string, number],
  reading: number,
  start: number,
): OffsetRow {
  return {
    topic,
    topicId,
    partition,
    reading,
    firstOffset: start,
    nextOffset: start,
    leaderEpoch: undefined,
    consumed: 0,
    deleted: 0,
    gaps: 0,
    stored: 0,
    duplicates: 0,
    deadLettered: 0,
    closedAtMs: undefined,
  };
}

/** An answer without rows. */
export function touched(count: number): Answer {
  return { rows: [], count };
}
