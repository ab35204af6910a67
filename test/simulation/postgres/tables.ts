// Declares the tables of the pipeline as the model of PostgreSQL keeps them.

import type { ReadingKey } from "../../../shared/pipeline/span.ts";
import { RowTable } from "./row-table.ts";

export interface OffsetRow extends ReadingKey {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly leaderEpoch: number | undefined;
  readonly consumed: number;
  readonly deleted: number;
  readonly gaps: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLettered: number;
  /** Ms since 1970; undefined for the current reading. */
  readonly closedAtMs: number | undefined;
}

export interface RawEventRow {
  readonly eventId: string;
  readonly userId: string;
  readonly eventType: string;
  /** JSON text; PostgreSQL stores its value. */
  readonly eventDataText: string;
  readonly durationSeconds: number | undefined;
  /** ISO 8601, UTC, as `formatTimestamp` writes it. */
  readonly timestamp: string;
  readonly processedAt: string;
}

export interface HourRow {
  /** Hours since 1970, UTC. */
  readonly hour: number;
  readonly eventType: string;
  readonly totalEvents: number;
  readonly uniqueUsers: number;
  readonly totalDurationMs: bigint;
  readonly durationCount: number;
  readonly unsavedEvents: number;
  readonly lateEvents: number;
  /** Ms since 1970; undefined while the hour is open. */
  readonly closedAtMs: number | undefined;
}

export interface HourUserRow {
  readonly hour: number;
  readonly eventType: string;
  readonly userId: string;
}

export interface DeadLetterRow extends ReadingKey {
  readonly offset: number;
  readonly key: Uint8Array | undefined;
  readonly value: Uint8Array | undefined;
  readonly headers: Uint8Array | undefined;
  readonly keyBytes: number | undefined;
  readonly valueBytes: number | undefined;
  readonly valueSha256: Uint8Array | undefined;
  readonly headersBytes: number | undefined;
  readonly stage: string;
  readonly reason: string;
  readonly error: string;
  readonly firstSeenAt: string;
  readonly maxFutureSkewSeconds: number;
}

/** A row of sealed_hours; its figures are those of the hour. */
export type SealedHourRow = Omit<HourRow, "closedAtMs">;

/** The row of pipeline_state. */
export interface StateRow {
  /** It changes only when a history says so. */
  readonly consumerGroup: string;
  readonly usersEpoch: number;
  /** Ms since 1970. */
  readonly cutoffMs: number | undefined;
}

/** The key of the only row of pipeline_state. */
export const STATE_KEY = "";

/** All tables that a worker reads or writes. */
export class Tables {
  readonly offsets = new RowTable<OffsetRow>("pipeline_offsets");
  readonly rawEvents = new RowTable<RawEventRow>("raw_events");
  readonly hours = new RowTable<HourRow>("hourly_aggregations");
  readonly hourUsers = new RowTable<HourUserRow>("hourly_users");
  readonly deadLetters = new RowTable<DeadLetterRow>("dead_letter_events");
  readonly sealedHours = new RowTable<SealedHourRow>("sealed_hours");
  readonly state = new RowTable<StateRow>("pipeline_state");

  constructor(consumerGroup: string) {
    this.state.restore(STATE_KEY, { consumerGroup, usersEpoch: 0, cutoffMs: undefined });
  }
}

/** No text of PostgreSQL holds a NUL. */
const SEPARATOR = "\0";

/** A key of several columns as one string. */
export function keyOf(...columns: readonly (string | number)[]): string {
  return columns.join(SEPARATOR);
}

/** A change that a transaction has committed. */
export type Change =
  | ChangeOf<"pipeline_offsets", OffsetRow>
  | ChangeOf<"raw_events", RawEventRow>
  | ChangeOf<"hourly_aggregations", HourRow>
  | ChangeOf<"hourly_users", HourUserRow>
  | ChangeOf<"dead_letter_events", DeadLetterRow>
  | ChangeOf<"sealed_hours", SealedHourRow>
  | ChangeOf<"pipeline_state", StateRow>
  | DeletionOf<"raw_events", RawEventRow>
  | DeletionOf<"hourly_users", HourUserRow>;

interface ChangeOf<Table extends string, Row extends object> {
  readonly table: Table;
  readonly key: string;
  readonly before: Row | undefined;
  readonly after: Row;
}

interface DeletionOf<Table extends string, Row extends object> {
  readonly table: Table;
  readonly key: string;
  readonly before: Row;
  readonly after: undefined;
}

/** A transaction whose COMMIT took effect. */
export interface CommittedTransaction {
  /** Counts up from 1 by commits. */
  readonly sequence: number;
  readonly backendPid: number;
  /** Virtual ms. */
  readonly atMs: number;
  readonly changes: readonly Change[];
}
