// Locks, compares and advances the stored offsets, so that every record counts once.

import { type PartitionKey, type Span, storedBy } from "../pipeline/batch.ts";
import type { Database, StoreSession, Transaction } from "./session.ts";
import { numberArray, textArray } from "./array-literal.ts";

/** A partition's next offset, as this worker last knew it to be stored. */
export interface StoredOffset extends PartitionKey {
  readonly nextOffset: number;
}

/** The stored offsets are not what this worker last knew: another worker advanced them, or a crash took them back. */
export class FenceFailed extends Error {
  override readonly name = "FenceFailed";
}

interface FenceRow {
  topic: string;
  topic_id: string;
  partition: number;
  next_offset: number;
  is_locked: boolean;
  backend_pid: number;
  now_ms: number;
}

function keyArrays(keys: readonly PartitionKey[]): [string, string, string] {
  return [
    textArray(keys.map(({ topic }) => topic)),
    textArray(keys.map(({ topicId }) => topicId)),
    numberArray(keys.map(({ partition }) => partition)),
  ];
}

function keyOf({ topic, topicId, partition }: PartitionKey): string {
  return `${topic} ${topicId} ${partition}`;
}

// The rows of the batch are locked in key order; the rows of the previous transaction are only read.
const FENCE = `
  with batch as (
    select * from unnest($1::text[], $2::text[], $3::int[]) as b (topic, topic_id, partition)
  ), previous as (
    select * from unnest($4::text[], $5::text[], $6::int[]) as p (topic, topic_id, partition)
  ), locked as (
    select o.topic, o.topic_id, o.partition, o.next_offset
    from pipeline_offsets o join batch using (topic, topic_id, partition)
    order by o.topic, o.topic_id, o.partition
    for update of o
  ), rows as (
    select *, true as is_locked from locked
    union all
    select o.topic, o.topic_id, o.partition, o.next_offset, false
    from pipeline_offsets o join previous using (topic, topic_id, partition)
  )
  select *, pg_backend_pid() as backend_pid, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms
  from rows`;

/**
 * Locks the offsets of a batch and compares them with the batch's beginnings; must be the first statement of a transaction.
 *
 * @param previous the offsets that this worker's last transaction advanced. They must still be stored, because the
 *   worker's memory of the database depends on that transaction, and a crash of the server may have lost it
 * @throws FenceFailed where anything differs: nothing of the batch may be stored
 */
export async function fence(
  tx: Transaction,
  session: Pick<StoreSession, "backendPid" | "observeClock">,
  spans: readonly Span[],
  previous: readonly StoredOffset[],
): Promise<void> {
  const rows = await tx.unsafe<FenceRow[]>(FENCE, [...keyArrays(spans), ...keyArrays(previous)], {
    prepare: true,
  });
  const locked = new Map<string, number>();
  const standing = new Map<string, number>();
  for (const row of rows) {
    const key = keyOf({ topic: row.topic, topicId: row.topic_id, partition: row.partition });
    (row.is_locked ? locked : standing).set(key, row.next_offset);
    session.observeClock(row.now_ms);
    if (row.backend_pid !== session.backendPid) {
      throw new FenceFailed(
        `the transaction runs in backend ${row.backend_pid}, not in backend ${session.backendPid} of this session`,
      );
    }
  }
  for (const span of spans) {
    const nextOffset = locked.get(keyOf(span));
    if (nextOffset !== span.from) {
      throw new FenceFailed(
        `${span.topic}[${span.partition}]: the stored offset is ${nextOffset ?? "missing"}, this batch begins at ${span.from}`,
      );
    }
  }
  for (const stored of previous) {
    // A greater offset is fine: the new owner of a revoked partition has advanced it.
    const nextOffset = standing.get(keyOf(stored));
    if (nextOffset === undefined || nextOffset < stored.nextOffset) {
      throw new FenceFailed(
        `${stored.topic}[${stored.partition}]: ${stored.nextOffset} was committed, ${nextOffset ?? "nothing"} is stored; the server lost its last transactions`,
      );
    }
  }
}

const ADVANCE = `
  update pipeline_offsets o
  set next_offset = b.to_offset,
      consumed = o.consumed + b.consumed,
      skipped = o.skipped + (b.to_offset - b.from_offset - b.consumed),
      stored = o.stored + b.stored,
      duplicates = o.duplicates + b.duplicates,
      dead_lettered = o.dead_lettered + b.dead_lettered,
      updated_at = now()
  from unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
    as b (topic, topic_id, partition, from_offset, to_offset, consumed, stored, duplicates, dead_lettered)
  where o.topic = b.topic and o.topic_id = b.topic_id and o.partition = b.partition
    and o.next_offset = b.from_offset`;

/**
 * Moves the fenced offsets to the end of the batch, and adds the batch to the counts of each partition.
 * @throws FenceFailed where a row is no longer as the fence read it
 */
export async function advance(tx: Transaction, spans: readonly Span[]): Promise<void> {
  const result = await tx.unsafe(
    ADVANCE,
    [
      ...keyArrays(spans),
      numberArray(spans.map(({ from }) => from)),
      numberArray(spans.map(({ to }) => to)),
      numberArray(spans.map(({ consumed }) => consumed)),
      numberArray(spans.map(storedBy)),
      numberArray(spans.map(({ duplicates }) => duplicates)),
      numberArray(spans.map(({ deadLettered }) => deadLettered)),
    ],
    { prepare: true },
  );
  if (result.count !== spans.length) {
    throw new FenceFailed(`only ${result.count} of ${spans.length} offsets could be advanced`);
  }
}

/**
 * The stored offset of a partition. `missing`: it has none. `locked`: a transaction in flight (an old one of this worker,
 * or one of the partition's previous owner) holds the row, so the caller must read it again later.
 */
export type StoredPosition = number | "missing" | "locked";

const POSITIONS = `
  with wanted as (
    select * from unnest($1::text[], $2::text[], $3::int[]) as w (topic, topic_id, partition)
  ), free as (
    select o.topic, o.topic_id, o.partition, o.next_offset
    from pipeline_offsets o join wanted using (topic, topic_id, partition)
    for update of o skip locked
  )
  select o.topic, o.topic_id, o.partition, free.next_offset
  from pipeline_offsets o join wanted using (topic, topic_id, partition)
    left join free using (topic, topic_id, partition)`;

/**
 * Reads the stored offsets of partitions, in the order of `keys`. An offset is returned only when no transaction in
 * flight can still move it. It waits for no lock, so a locked row does not delay the other partitions.
 */
export async function readPositions(sql: Database, keys: readonly PartitionKey[]): Promise<StoredPosition[]> {
  const rows = await sql.unsafe<
    { topic: string; topic_id: string; partition: number; next_offset: number | null }[]
  >(POSITIONS, keyArrays(keys), { prepare: true });
  const positions = new Map<string, StoredPosition>(
    rows.map(({ topic, topic_id, partition, next_offset }) => [
      keyOf({ topic, topicId: topic_id, partition }),
      next_offset ?? "locked",
    ]),
  );
  return keys.map((key) => positions.get(keyOf(key)) ?? "missing");
}

/** Enters partitions that were never read, at the start of their logs; an existing row stays unchanged. */
export async function enterPartitions(sql: Database, starts: readonly StoredOffset[]): Promise<void> {
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

/**
 * Skips records that Kafka deleted before they were read.
 * @returns false where the stored offset is no longer `from`
 */
export async function skipGap(sql: Database, from: StoredOffset, to: number): Promise<boolean> {
  const result = await sql`
    update pipeline_offsets
    set next_offset = ${to}, skipped = skipped + ${to - from.nextOffset}, updated_at = now()
    where topic = ${from.topic} and topic_id = ${from.topicId} and partition = ${from.partition}
      and next_offset = ${from.nextOffset}`;
  return result.count === 1;
}
