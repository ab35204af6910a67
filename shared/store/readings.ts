// Starts another reading of a partition: where its log was cut and rewritten, or where it is rewound.

import type { PartitionKey } from "../pipeline/span.ts";
import { endWorkerSessions } from "./database-owner.ts";
import { keyArrays, type StoredOffset } from "./offsets.ts";
import type { Database, Transaction } from "./session.ts";

/**
 * Reads a partition again from an offset: closes the account of the current reading as it is, and opens the next one. A
 * batch of the closed reading can no longer be stored.
 *
 * @param from where the current reading is
 * @param at where the next one begins
 * @param leaderEpoch that of the last record below `at`, or a later one of the same log, where it is known: by it a log
 *   that is cut below `at` is noticed
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

/** Where a partition is read, as stored now. */
export interface CurrentReading extends StoredOffset {
  readonly leaderEpoch: number | undefined;
}

interface CurrentRow {
  topic: string;
  topic_id: string;
  partition: number;
  reading: number;
  next_offset: number;
  leader_epoch: number | null;
}

/** The current readings of partitions, in key order; those that were never read are missing. */
export async function currentReadings(
  sql: Database | Transaction,
  keys: readonly PartitionKey[],
  lock: "" | "for update of o" = "",
): Promise<CurrentReading[]> {
  const rows = await sql.unsafe<CurrentRow[]>(
    `select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, o.leader_epoch
     from pipeline_offsets o
       join unnest($1::text[], $2::text[], $3::int[]) as w (topic, topic_id, partition) using (topic, topic_id, partition)
     where o.closed_at is null
     order by o.topic, o.topic_id, o.partition
     ${lock}`,
    keyArrays(keys),
  );
  return rows.map(({ topic, topic_id, partition, reading, next_offset, leader_epoch }) => ({
    topic,
    topicId: topic_id,
    partition,
    reading,
    nextOffset: next_offset,
    leaderEpoch: leader_epoch ?? undefined,
  }));
}

/** Where a partition is to be read again from. */
export interface RewindTarget extends PartitionKey {
  readonly at: number;
}

/** A partition that is read again, from `nextOffset` of a new reading on. */
export interface Rewound extends StoredOffset {
  /** Up to here it was stored by the reading before. */
  readonly until: number;
}

/**
 * Starts a new reading of each partition that is stored beyond its target; the others stay as they are. Then it ends the
 * sessions of all workers, which read their offsets again. That is part of the transaction, so that no worker goes on
 * idle at the old offset, and until the COMMIT the rows are locked, so that none begins there.
 *
 * The epoch of the old reading goes with the new one: a log that was cut below the target is still noticed.
 */
export async function rewind(
  tx: Transaction,
  targets: readonly RewindTarget[],
): Promise<{ readonly rewound: Rewound[]; readonly workers: number }> {
  const rewound: Rewound[] = [];
  // In key order, as a fence locks them.
  for (const current of await currentReadings(tx, targets, "for update of o")) {
    const { topic, topicId, partition, nextOffset, leaderEpoch } = current;
    const target = targets.find((each) => each.topic === topic && each.partition === partition);
    if (target === undefined || target.at >= nextOffset) continue;
    const from = { topic, topicId, partition, reading: current.reading, nextOffset };
    const started = await startReading(tx, from, target.at, leaderEpoch);
    if (started !== undefined) rewound.push({ ...started, until: nextOffset });
  }
  const ended = rewound.length === 0 ? [] : await endWorkerSessions(tx);
  return { rewound, workers: ended.length };
}
