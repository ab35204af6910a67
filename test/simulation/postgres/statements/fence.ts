// Executes the fence, which locks and reads the offsets of a batch, and the advance, which moves them.

import { numbers, numberValues } from "../array-values.ts";
import {
  compareOffsets,
  findCurrent,
  findReading,
  isCurrent,
  offsetKey,
  OFFSETS,
  partitionsAt,
  touched,
  updateOffset,
} from "../offset-rows.ts";
import { visibleRow } from "../row-table.ts";
import { inOrder, type Statement } from "../statement.ts";
import type { OffsetRow } from "../tables.ts";
import { isStateExpected, STATE_CONDITION, stateColumns, visibleState } from "./pipeline-state.ts";

function columns({ topic, topicId, partition, reading, nextOffset }: OffsetRow) {
  return { topic, topic_id: topicId, partition, reading, next_offset: nextOffset };
}

export const fenceStatement: Statement = {
  name: "fence",
  text: `
    with batch as (
      select * from unnest($1::text[], $2::text[], $3::int[]) as b (topic, topic_id, partition)
    ), previous as (
      select * from unnest($4::text[], $5::text[], $6::int[], $7::int[]) as p (topic, topic_id, partition, reading)
    ), locked as (
      select o.topic, o.topic_id, o.partition, o.reading, o.next_offset
      from pipeline_offsets o join batch using (topic, topic_id, partition)
      where o.closed_at is null
      [[order: order by o.topic, o.topic_id, o.partition]]
      [[lock: for update of o]]
    ), rows as (
      select *, true as is_locked from locked
      union all
      select o.topic, o.topic_id, o.partition, o.reading, o.next_offset, false
      from pipeline_offsets o join previous using (topic, topic_id, partition, reading)
    )
    select rows.*, pg_backend_pid() as backend_pid, extract(epoch from clock_timestamp())::float8 * 1000 as now_ms,
      users_epoch, extract(epoch from retention_cutoff)::float8 * 1000 as cutoff_ms
    from rows left join pipeline_state on true`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const { transaction, tables, backendPid, parts } = context;
    // All of it is read from the snapshot of the statement's start, before any wait.
    const state = stateColumns(visibleState(context));
    const batch = partitionsAt(parameters, 0).flatMap((partition) => findCurrent(context, partition));
    const readings = numbers(parameters[6] as string);
    const previous = partitionsAt(parameters, 3).flatMap((partition, index) =>
      findReading(context, offsetKey(...partition, readings[index]!)),
    );
    const rows = [];
    for (const { entry, row } of inOrder(context, batch, (a, b) => compareOffsets(a.row, b.row))) {
      if (parts.has("lock")) await transaction.lock(tables.offsets, entry);
      // A row that was waited for is read again, and left out where its reading was closed.
      const current = parts.has("lock") ? visibleRow(entry, transaction)! : row;
      if (isCurrent(current)) rows.push({ ...columns(current), is_locked: true });
    }
    for (const { row } of previous) rows.push({ ...columns(row), is_locked: false });
    const server = { backend_pid: backendPid, now_ms: context.clockMs(), ...state };
    return { rows: rows.map((row) => ({ ...row, ...server })), count: rows.length };
  },
};

export const advanceStatement: Statement = {
  name: "advance",
  text: `
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
      and o.closed_at is null [[compare: and o.next_offset = b.from_offset]]
      [[state: and ${STATE_CONDITION}]]`,
  table: OFFSETS,
  writes: true,
  async run(context, parameters) {
    const column = (at: number) => numbers(parameters[at] as string);
    const [readings, from, to] = [column(3), column(4), column(5)];
    const leaderEpochs = numberValues(parameters[6] as string);
    const [consumed, gaps] = [column(7), column(8)];
    const [stored, duplicates, deadLettered] = [column(9), column(10), column(11)];
    const isAsExpected = isStateExpected(visibleState(context), parameters[12], parameters[13]);
    if (context.parts.has("state") && !isAsExpected) return touched(0);
    let count = 0;
    for (const [index, partition] of partitionsAt(parameters, 0).entries()) {
      const [found] = findReading(context, offsetKey(...partition, readings[index]!));
      if (found === undefined) continue;
      const updated = await updateOffset(
        context,
        found,
        (row) => isCurrent(row) && (!context.parts.has("compare") || row.nextOffset === from[index]),
        (row) => ({
          ...row,
          nextOffset: to[index]!,
          leaderEpoch: leaderEpochs[index],
          consumed: row.consumed + consumed[index]!,
          gaps: row.gaps + gaps[index]!,
          stored: row.stored + stored[index]!,
          duplicates: row.duplicates + duplicates[index]!,
          deadLettered: row.deadLettered + deadLettered[index]!,
        }),
      );
      if (updated !== undefined) count++;
    }
    return touched(count);
  },
};
