// Locks, compares and advances the stored offsets, so that every record counts once.

import type { PartitionKey, ReadingKey, Span } from "../pipeline/span.ts";
import type { Database, StoreSession, Transaction } from "./session.ts";
import { assertAccounted } from "./account.ts";
import { numberArray, textArray } from "./array-literal.ts";
import {
  assertState,
  type ExpectedState,
  type PipelineState,
  stateCondition,
  stateOf,
  stateParameters,
  type StateRow,
} from "./pipeline-state.ts";

/** A partition's next offset, as this worker last knew it to be stored. */
export interface StoredOffset extends ReadingKey {
  readonly nextOffset: number;
}

/** The stored offsets are not what this worker last knew: another worker advanced them, or a crash took them back. */
export class FenceFailed extends Error {
  override readonly name = "FenceFailed";
}

interface FenceRow extends StateRow {
  topic: string;
  topic_id: string;
  partition: number;
  reading: number;
  next_offset: number;
  is_locked: boolean;
  backend_pid: number;
  now_ms: number;
}

/** Three parameters of a statement. */
export function keyArrays(keys: readonly PartitionKey[]): [string, string, string] {
  return [
    textArray(keys.map(({ topic }) => topic)),
    textArray(keys.map(({ topicId }) => topicId)),
    numberArray(keys.map(({ partition }) => partition)),
  ];
}

function readingsOf(keys: readonly ReadingKey[]): string {
  return numberArray(keys.map(({ reading }) => reading));
}

export function keyOf({ topic, topicId, partition }: PartitionKey): string {
  return `${topic} ${topicId} ${partition}`;
}

// The rows of the batch are locked in key order; the rows of the previous transaction are only read. Of the readings
// of a partition only the current one counts for the batch.
const FENCE = `
  with batch as (
    select * from unnest($1::text[], $2::text[], $3::int[]) as b (topic, topic_id, partition)
  ), previous as (
    select * from unnest($4::text[], $5::text[], $6::int[], $7::int[]) as p (topic, topic_id, partition, reading)
  ), locked as (
    select o.topic, o.topic_id, o.partition, o.reading, o.next_offset
    from pipeline_offsets o join batch using (topic, topic_id, partition)
    where o.closed_at is null
    order by o.topic, o.topic_id, o.partition
    for update of o
  ), rows as (
    select *, true as is_locked from locked
    union all
    select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, false
    from pipeline_offsets o join previous using (topic, topic_id, partition, reading)
  )
  select rows.*, pg_backend_pid() as backend_pid, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms,
    users_epoch, extract(epoch from retention_cutoff)::float8 * 1000 as cutoff_ms
  from rows left join pipeline_state on true`;

/**
 * Locks the offsets of a batch and compares them with the batch's beginnings; must be the first statement of a transaction.
 *
 * @param previous the offsets that this worker's last transaction advanced. They must still be stored, because the
 *   worker's memory of the database depends on that transaction, and a crash of the server may have lost it
 * @returns the state of the pipeline when the statement began; `advance` finds out whether it still holds
 * @throws FenceFailed where anything differs: nothing of the batch may be stored
 */
export async function fence(
  tx: Transaction,
  session: Pick<StoreSession, "backendPid" | "observeClock">,
  spans: readonly Span[],
  previous: readonly StoredOffset[],
): Promise<PipelineState> {
  const rows = await tx.unsafe<FenceRow[]>(
    FENCE,
    [...keyArrays(spans), ...keyArrays(previous), readingsOf(previous)],
    { prepare: true },
  );
  const locked = new Map<string, FenceRow>();
  const standing = new Map<string, number>();
  for (const row of rows) {
    const key = keyOf({ topic: row.topic, topicId: row.topic_id, partition: row.partition });
    if (row.is_locked) locked.set(key, row);
    else standing.set(key, row.next_offset);
    session.observeClock(row.now_ms);
    if (row.backend_pid !== session.backendPid) {
      throw new FenceFailed(
        `the transaction runs in backend ${row.backend_pid}, not in backend ${session.backendPid} of this session: a pooler must be in session mode`,
      );
    }
  }
  for (const span of spans) {
    const row = locked.get(keyOf(span));
    const place = `${span.topic}[${span.partition}]`;
    if (row?.next_offset !== span.from) {
      throw new FenceFailed(
        `${place}: the stored offset is ${row?.next_offset ?? "missing"}, this batch begins at ${span.from}`,
      );
    }
    if (row.reading !== span.reading) {
      throw new FenceFailed(
        `${place} is read again, in reading ${row.reading}, this batch is of reading ${span.reading}`,
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
  return stateOf(rows[0]);
}

const ADVANCE = `
  update pipeline_offsets o
  set next_offset = b.to_offset,
      leader_epoch = b.leader_epoch,
      consumed = o.consumed + b.consumed,
      gaps = o.gaps + b.gaps,
      stored = o.stored + b.stored,
      duplicates = o.duplicates + b.duplicates,
      dead_lettered = o.dead_lettered + b.dead_lettered,
      updated_at = now()
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bigint[], $7::int[], $8::bigint[],
      $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
    as b (topic, topic_id, partition, reading, from_offset, to_offset, leader_epoch, consumed,
      gaps, stored, duplicates, dead_lettered)
  where o.topic = b.topic and o.topic_id = b.topic_id and o.partition = b.partition and o.reading = b.reading
    and o.closed_at is null and o.next_offset = b.from_offset
    and ${stateCondition("$13", "$14")}`;

/**
 * Moves the fenced offsets to the end of the batch, and adds the batch to the counts of each partition. Must run after the
 * hours were added to.
 * @throws FenceFailed where a row is no longer as the fence read it, StateChanged where pipeline_state is not as expected,
 *   InvariantViolated for a span that does not add up
 */
export async function advance(
  tx: Transaction,
  spans: readonly Span[],
  expected: ExpectedState,
): Promise<void> {
  for (const span of spans) assertAccounted(span);
  const result = await tx.unsafe(
    ADVANCE,
    [
      ...keyArrays(spans),
      readingsOf(spans),
      numberArray(spans.map(({ from }) => from)),
      numberArray(spans.map(({ to }) => to)),
      numberArray(spans.map(({ leaderEpoch }) => leaderEpoch)),
      numberArray(spans.map(({ consumed }) => consumed)),
      numberArray(spans.map(({ gaps }) => gaps)),
      numberArray(spans.map(({ stored }) => stored)),
      numberArray(spans.map(({ duplicates }) => duplicates)),
      numberArray(spans.map(({ deadLettered }) => deadLettered)),
      ...stateParameters(expected),
    ],
    { prepare: true },
  );
  if (result.count !== spans.length) {
    await assertState(tx, expected);
    throw new FenceFailed(`only ${result.count} of ${spans.length} offsets could be advanced`);
  }
}

/**
 * Skips records that Kafka deleted before they were read, and counts them as deleted.
 * @returns false where the stored offset is no longer `from`
 */
export async function skipGap(sql: Database, from: StoredOffset, to: number): Promise<boolean> {
  const result = await sql`
    update pipeline_offsets
    set next_offset = ${to}, leader_epoch = null, deleted = deleted + ${to - from.nextOffset}, updated_at = now()
    where topic = ${from.topic} and topic_id = ${from.topicId} and partition = ${from.partition}
      and reading = ${from.reading} and closed_at is null and next_offset = ${from.nextOffset}`;
  return result.count === 1;
}
