// Describes what a committed batch did to the database: the source of every record counter.

import type { HourDelta } from "../event.ts";

export interface CommitReport {
  /** The rows of the events that were stored, see `Batch.rows`. */
  readonly stored: Int32Array;
  readonly deltas: readonly HourDelta[];
  /** The event type of each row that was created in hourly_aggregations. */
  readonly createdHours: readonly string[];
  /** Rows written to hourly_users. */
  readonly newUsers: number;
  /** Events that their hours count as late. */
  readonly lateEvents: number;
  /** Rows written to raw_events. */
  readonly rawRows: number;
  /** True if a COPY failed first, and the batch was stored in another way. */
  readonly copyFailed: boolean;
  /** The database's clock when the COMMIT was answered, ms since 1970. */
  readonly committedAtMs: number;
  readonly aggregationSeconds: number;
  /** From BEGIN to the answer of COMMIT. */
  readonly transactionSeconds: number;
}
