// Makes rejections and recognizes them.
// Their messages name fields, sizes and positions, never the payload itself.

import type { Rejection, RejectionReason, RejectionStage } from "../event.ts";

/** A rejection as a value, told apart from a good result by its `reason`. */
export function makeRejection(stage: RejectionStage, reason: RejectionReason, error: string): Rejection {
  return { stage, reason, error };
}

/** True where a stage returned a rejection instead of its result. */
export function isRejection(result: object): result is Rejection {
  return "reason" in result;
}

/** Every reason; the compiler refuses a list that lacks one. */
export const REJECTION_REASONS = Object.keys({
  tombstone: true,
  too_large: true,
  not_utf8: true,
  not_json: true,
  too_deep: true,
  not_an_object: true,
  missing_field: true,
  wrong_type: true,
  out_of_range: true,
  invalid_timestamp: true,
  future_timestamp: true,
  unstorable_text: true,
  refused_by_database: true,
  expired: true,
} satisfies Record<RejectionReason, true>) as RejectionReason[];
