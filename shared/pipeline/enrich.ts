// A validated event in; the same event with what the pipeline knows about it out.

import type { PipelineEvent } from "../event.ts";

/** A purchase above this amount is of high value. */
export const HIGH_VALUE_AMOUNT = 100;

/**
 * Adds `is_high_value` to the event_data of a purchase with a numeric amount. It goes last into the text,
 * because in jsonb the last of a repeated key counts: a value that the producer sent is overruled.
 */
export function enrich(event: PipelineEvent): PipelineEvent {
  if (event.purchaseAmount === undefined) return event;
  // The text ends in the object's closing brace, and the amount is in it: it is not empty.
  const members = event.eventDataText.slice(0, -1);
  const isHighValue = event.purchaseAmount > HIGH_VALUE_AMOUNT;
  return { ...event, eventDataText: `${members},"is_high_value":${isHighValue}}` };
}
