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
