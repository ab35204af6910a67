// Executes what reads pipeline_state.

import { visibleRow } from "../row-table.ts";
import type { AnswerRow, Statement, StatementContext } from "../statement.ts";
import { STATE_KEY, type StateRow } from "../tables.ts";

/** The row as a statement sees it that begins now. */
export function visibleState({ tables, transaction }: StatementContext): StateRow {
  return visibleRow(tables.state.entry(STATE_KEY), transaction)!;
}

/** Its columns, as the fence reads them. */
export function stateColumns({ usersEpoch, cutoffMs }: StateRow): AnswerRow {
  return { users_epoch: usersEpoch, cutoff_ms: cutoffMs ?? null };
}

/** The condition that the state is as a statement's last two parameters say. */
export const STATE_CONDITION = `exists (
  select from pipeline_state
  where users_epoch = coalesce($13::bigint, users_epoch)
    and retention_cutoff is not distinct from $14::timestamptz)`;

export function isStateExpected(
  { usersEpoch, cutoffMs }: StateRow,
  epoch: unknown,
  cutoff: unknown,
): boolean {
  const expectedMs = cutoff === null ? undefined : Date.parse(cutoff as string);
  return (epoch === null || usersEpoch === Number(epoch)) && cutoffMs === expectedMs;
}

export const readStateStatement: Statement = {
  name: "read state",
  text: `select users_epoch, extract(epoch from retention_cutoff)::float8 * 1000 as cutoff_ms from pipeline_state`,
  table: "pipeline_state",
  writes: false,
  run: (context) => ({ rows: [stateColumns(visibleState(context))], count: 1 }),
};
