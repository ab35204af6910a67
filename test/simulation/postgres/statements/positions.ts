// Executes the statements that place a partition: reading its stored offset, entering it, skipping, reading it again.

import { numbers } from "../array-values.ts";
import {
  compareOffsets,
  findCurrent,
  findReading,
  isCurrent,
  newOffset,
  offsetKey,
  OFFSETS,
  partitionsAt,
  touched,
  updateOffset,
} from "../offset-rows.ts";
import { visibleRow } from "../row-table.ts";
import { uniqueViolation } from "../server-error.ts";
import { inOrder, NOTHING, type Statement } from "../statement.ts";

export const positionsStatement: Statement = {
  name: "read positions",
  text: `
    with wanted as (
      select * from unnest($1::text[], $2::text[], $3::int[]) as w (topic, topic_id, partition)
    ), free as (
      select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, o.leader_epoch
      from pipeline_offsets o join wanted using (topic, topic_id, partition)
      where o.closed_at is null
      [[lock: for update of o skip locked]]
    )
    select o.topic, o.topic_id, o.partition, free.reading, free.next_offset, free.leader_epoch
    from pipeline_offsets o join wanted using (topic, topic_id, partition)
      left join free using (topic, topic_id, partition, reading)
    where o.closed_at is null`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const { transaction, tables, parts } = context;
    const rows = [];
    const found = partitionsAt(parameters, 0).flatMap((partition) => findCurrent(context, partition));
    for (const { entry, row } of found) {
      if (!isCurrent(row)) continue;
      const isSkipped = parts.has("lock") && entry.owner !== undefined && entry.owner !== transaction;
      if (parts.has("lock") && !isSkipped) await transaction.lock(tables.offsets, entry);
      // The row as it was locked, which is newer than the snapshot where another transaction has just ended.
      const locked = parts.has("lock") ? visibleRow(entry, transaction)! : row;
      const free = isSkipped || !isCurrent(locked) ? undefined : locked;
      rows.push({
        topic: row.topic,
        topic_id: row.topicId,
        partition: row.partition,
        reading: free?.reading ?? null,
        next_offset: free?.nextOffset ?? null,
        leader_epoch: free?.leaderEpoch ?? null,
      });
    }
    return { rows, count: rows.length };
  },
};

/** Of a rewind. */
export const currentReadingsStatement: Statement = {
  name: "lock current readings",
  text: `
    select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, o.leader_epoch
    from pipeline_offsets o
      join unnest($1::text[], $2::text[], $3::int[]) as w (topic, topic_id, partition) using (topic, topic_id, partition)
    where o.closed_at is null
    [[order: order by o.topic, o.topic_id, o.partition]]
    [[lock: for update of o]]`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const { transaction, tables, parts } = context;
    const found = partitionsAt(parameters, 0).flatMap((partition) => findCurrent(context, partition));
    const rows = [];
    for (const { entry, row } of inOrder(context, found, (a, b) => compareOffsets(a.row, b.row))) {
      if (parts.has("lock")) await transaction.lock(tables.offsets, entry);
      // A row that was waited for is read again, and left out where its reading was closed.
      const current = parts.has("lock") ? visibleRow(entry, transaction)! : row;
      if (!isCurrent(current)) continue;
      rows.push({
        topic: current.topic,
        topic_id: current.topicId,
        partition: current.partition,
        reading: current.reading,
        next_offset: current.nextOffset,
        leader_epoch: current.leaderEpoch ?? null,
      });
    }
    return { rows, count: rows.length };
  },
};

export const enterStatement: Statement = {
  name: "enter partitions",
  text: `
    insert into pipeline_offsets (topic, topic_id, partition, first_offset, next_offset)
    select topic, topic_id, partition, start, start
    from unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) as s (topic, topic_id, partition, start)
    [[order: order by topic, topic_id, partition]]
    on conflict do nothing`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const starts = numbers(parameters[3] as string);
    const rows = partitionsAt(parameters, 0).map((partition, index) =>
      newOffset(partition, 0, starts[index]!),
    );
    for (const row of inOrder(context, rows, compareOffsets)) {
      const key = offsetKey(row.topic, row.topicId, row.partition, row.reading);
      await context.transaction.insert(context.tables.offsets, key, row);
    }
    return NOTHING;
  },
};

export const skipGapStatement: Statement = {
  name: "skip gap",
  text: `
    update pipeline_offsets
    set next_offset = $1, leader_epoch = null, deleted = deleted + $2, updated_at = now()
    where topic = $3 and topic_id = $4 and partition = $5
      and reading = $6 and closed_at is null [[compare: and next_offset = $7]]`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const [to, deleted, topic, topicId, partition, reading, from] = parameters as [
      number,
      number,
      string,
      string,
      number,
      number,
      number,
    ];
    const [found] = findReading(context, offsetKey(topic, topicId, partition, reading));
    if (found === undefined) return NOTHING;
    const updated = await updateOffset(
      context,
      found,
      (row) => isCurrent(row) && (!context.parts.has("compare") || row.nextOffset === from),
      (row) => ({ ...row, nextOffset: to, leaderEpoch: undefined, deleted: row.deleted + deleted }),
    );
    return touched(updated === undefined ? 0 : 1);
  },
};

export const startReadingStatement: Statement = {
  name: "start reading",
  text: `
    with closed as (
      update pipeline_offsets set closed_at = now()
      where topic = $1 and topic_id = $2 and partition = $3
        and reading = $4 and closed_at is null [[compare: and next_offset = $5]]
      returning topic, topic_id, partition, reading
    )
    insert into pipeline_offsets (topic, topic_id, partition, reading, first_offset, next_offset, leader_epoch)
    select topic, topic_id, partition, reading + 1, $6, $7, $8::int from closed
    returning reading`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const [topic, topicId, partition, reading, from, at, , leaderEpoch] = parameters as [
      string,
      string,
      number,
      number,
      number,
      number,
      number,
      number | null,
    ];
    const { transaction, tables, parts } = context;
    const [found] = findReading(context, offsetKey(topic, topicId, partition, reading));
    if (found === undefined) return NOTHING;
    const closed = await updateOffset(
      context,
      found,
      (row) => isCurrent(row) && (!parts.has("compare") || row.nextOffset === from),
      (row) => ({ ...row, closedAtMs: transaction.startedAtMs }),
    );
    if (closed === undefined) return NOTHING;
    const start = newOffset([topic, topicId, partition], reading + 1, at);
    const next = { ...start, leaderEpoch: leaderEpoch ?? undefined };
    const key = offsetKey(topic, topicId, partition, next.reading);
    if (!(await transaction.insert(tables.offsets, key, next)))
      throw uniqueViolation("pipeline_offsets_pkey");
    return { rows: [{ reading: next.reading }], count: 1 };
  },
};
