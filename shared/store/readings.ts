// Starts another reading of a partition, whose log was cut and rewritten.

import type { StoredOffset } from "./offsets.ts";
import type { Database, Transaction } from "./session.ts";

/**
 * Reads a partition again from an offset, because its log was cut there and rewritten: closes the account of the
 * current reading as it is, and opens the next one. A batch of the closed reading can no longer be stored.
 *
 * @param from where the current reading is
 * @param at where the next one begins
 * @param leaderEpoch that of the last record below `at`, where it is known: by it a log that is cut once more is noticed
 * @returns where the next reading is; undefined where the stored offset is no longer `from`
 */
export async function startReading(
  sql: Database | Transaction,
  from: StoredOffset,
  at: number,
  leaderEpoch?: number,
): Promise<StoredOffset | undefined> {
  const [row] = await sql<[{ reading: number }?]>`
    with closed as (
      update pipeline_offsets set closed_at = now()
      where topic = ${from.topic} and topic_id = ${from.topicId} and partition = ${from.partition}
        and reading = ${from.reading} and closed_at is null and next_offset = ${from.nextOffset}
      returning topic, topic_id, partition, reading
    )
    insert into pipeline_offsets (topic, topic_id, partition, reading, first_offset, next_offset, leader_epoch)
    select topic, topic_id, partition, reading + 1, ${at}, ${at}, ${leaderEpoch ?? null}::int from closed
    returning reading`;
  return row === undefined ? undefined : { ...from, reading: row.reading, nextOffset: at };
}
