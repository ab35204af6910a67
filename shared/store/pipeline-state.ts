// Reads pipeline_state in a transaction, and finds out whether it has changed since.

import { formatTimestamp } from "../pipeline/timestamp.ts";
import type { Transaction } from "./session.ts";
import { SchemaFault } from "./sqlstate.ts";

/** @throws SchemaFault where somebody has deleted the row */
export function assertStateRow<Row>(row: Row | undefined): Row {
  if (row !== undefined) return row;
  throw new SchemaFault(
    'pipeline_state has lost its row; restore it with "insert into pipeline_state default values"',
  );
}

/** What a transaction has read of pipeline_state. */
export interface PipelineState {
  /** Raised whenever rows of hourly_users are deleted: users that were known before may be gone. */
  readonly usersEpoch: number;
  /** Events of earlier hours are not stored; ms since 1970, undefined where all hours take events. */
  readonly cutoffMs: number | undefined;
}

/** What of it must still hold at the end of the transaction; an epoch that is undefined does not matter. */
export interface ExpectedState extends Pick<PipelineState, "cutoffMs"> {
  readonly usersEpoch: number | undefined;
}

/** pipeline_state has changed since the transaction has read it: the transaction can be repeated at once. */
export class StateChanged extends Error {
  override readonly name = "StateChanged";
}

/** As a statement reads it. */
export interface StateRow {
  /** Null where the row is missing. */
  users_epoch: number | null;
  cutoff_ms: number | null;
}

/** @throws SchemaFault where somebody has deleted the row */
export function stateOf(row: StateRow | undefined): PipelineState {
  const { users_epoch, cutoff_ms } = assertStateRow(row?.users_epoch === null ? undefined : row);
  return { usersEpoch: users_epoch!, cutoffMs: cutoff_ms ?? undefined };
}

/** Reads the state as of now. @throws SchemaFault where somebody has deleted the row */
export async function readPipelineState(tx: Transaction): Promise<PipelineState> {
  const [row] = await tx.unsafe<StateRow[]>(
    "select users_epoch, extract(epoch from retention_cutoff)::float8 * 1000 as cutoff_ms from pipeline_state",
  );
  return stateOf(row);
}

/**
 * The condition that the state is as expected, in a statement that runs when all rows of hours are locked. A deletion of
 * users of an hour locks its row first: what it has committed before is seen here, and what it commits later has seen this
 * transaction.
 */
export function stateCondition(epochParameter: string, cutoffParameter: string): string {
  return `exists (
      select from pipeline_state
      where users_epoch = coalesce(${epochParameter}::bigint, users_epoch)
        and retention_cutoff is not distinct from ${cutoffParameter}::timestamptz)`;
}

/** The parameters of `stateCondition`. */
export function stateParameters({
  usersEpoch,
  cutoffMs,
}: ExpectedState): [epoch: number | null, cutoff: string | null] {
  return [usersEpoch ?? null, cutoffMs === undefined ? null : formatTimestamp(cutoffMs, 0)];
}

/** @throws StateChanged where the state is no longer as expected */
export async function assertState(tx: Transaction, expected: ExpectedState): Promise<void> {
  const { usersEpoch, cutoffMs } = await readPipelineState(tx);
  const isSame = cutoffMs === expected.cutoffMs && usersEpoch === (expected.usersEpoch ?? usersEpoch);
  if (!isSame) throw new StateChanged("pipeline_state has changed during the transaction");
}
