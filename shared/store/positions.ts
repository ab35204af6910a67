// Reads where each partition is stored up to, and enters those that were never read.

import type { PartitionKey } from "../pipeline/span.ts";
import { numberArray } from "./array-literal.ts";
import { keyArrays, keyOf, type StoredOffset } from "./offsets.ts";
import type { Database } from "./session.ts";

/** Where a partition is read on. */
export type StoredPosition =
  | {
      readonly kind: "stored";
      readonly reading: number;
      readonly nextOffset: number;
      /** Of the last record below `nextOffset`, where it is known. */
      readonly leaderEpoch: number | undefined;
    }
  /** It has no row. */
  | { readonly kind: "missing" }
  /**
   * A transaction in flight (an old one of this worker, or one of the partition's previous owner) holds the row, so
   * the caller must read it again later.
   */
  | { readonly kind: "locked" };

const POSITIONS = `
  with wanted as (
    select * from unnest($1::text[], $2::text[], $3::int[]) as w (topic, topic_id, partition)
  ), free as (
    select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, o.leader_epoch
    from pipeline_offsets o join wanted using (topic, topic_id, partition)
    where o.closed_at is null
    for update of o skip locked
  )
  select o.topic, o.topic_id, o.partition, free.reading, free.next_offset, free.leader_epoch
  from pipeline_offsets o join wanted using (topic, topic_id, partition)
    left join free using (topic, topic_id, partition, reading)
  where o.closed_at is null`;

interface PositionRow {
  topic: string;
  topic_id: string;
  partition: number;
  /** Null where the row is locked, like the other two. */
  reading: number | null;
  next_offset: number | null;
  leader_epoch: number | null;
}

/**
 * Reads the stored offsets of partitions, in the order of `keys`. An offset is returned only when no transaction in
 * flight can still move it. It waits for no lock, so a locked row does not delay the other partitions.
 */
export async function readPositions(sql: Database, keys: readonly PartitionKey[]): Promise<StoredPosition[]> {
  const rows = await sql.unsafe<PositionRow[]>(POSITIONS, keyArrays(keys), { prepare: true });
  const positions = new Map(
    rows.map((row) => [
      keyOf({ topic: row.topic, topicId: row.topic_id, partition: row.partition }),
      positionOf(row),
    ]),
  );
  return keys.map((key) => positions.get(keyOf(key)) ?? { kind: "missing" });
}

function positionOf({ reading, next_offset, leader_epoch }: PositionRow): StoredPosition {
  if (reading === null || next_offset === null) return { kind: "locked" };
  return { kind: "stored", reading, nextOffset: next_offset, leaderEpoch: leader_epoch ?? undefined };
}

/** The start of a log that was never read. */
export type LogStart = PartitionKey & Pick<StoredOffset, "nextOffset">;

/** Enters partitions that were never read, at the start of their logs; an existing row stays unchanged. */
export async function enterPartitions(sql: Database, starts: readonly LogStart[]): Promise<void> {
  await sql.unsafe(
    `insert into pipeline_offsets (topic, topic_id, partition, first_offset, next_offset)
     select topic, topic_id, partition, start, start
     from unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) as s (topic, topic_id, partition, start)
     order by topic, topic_id, partition
     on conflict do nothing`,
    [...keyArrays(starts), numberArray(starts.map(({ nextOffset }) => nextOffset))],
    { prepare: true },
  );
}
