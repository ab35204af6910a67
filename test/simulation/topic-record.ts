// Describes a record of a simulated topic, with its expected outcome.

import type { RejectionReason } from "../../shared/event.ts";
import type { RawRow } from "../properties/fold.ts";

export interface TopicRecord {
  readonly key: Buffer | undefined;
  /** Undefined: a tombstone. */
  readonly value: Buffer | undefined;
  /** The row that it becomes, unless its id was stored before; undefined where the record is rejected. */
  readonly event: RawRow | undefined;
  readonly reason: RejectionReason | undefined;
}
