// Adds what the pipeline knows about an event to its data.

import type { PipelineEvent } from "../event.ts";

/** A purchase above this amount is a high-value purchase. */
export const HIGH_VALUE_AMOUNT = 100;

/** What the closing brace of a purchase's event_data is replaced by. */
export function highValueEnd(amount: number): string {
  return `,"is_high_value":${amount > HIGH_VALUE_AMOUNT}}`;
}

/**
 * Adds `is_high_value` to the event_data of a purchase with a numeric amount. The member is appended, because jsonb
 * keeps the last of a repeated key: it replaces a value that the producer sent.
 */
export function enrich(event: PipelineEvent): PipelineEvent {
  if (event.purchaseAmount === undefined) return event;
  // The text ends with the object's closing brace, and the object is not empty: it contains the amount.
  return {
    ...event,
    eventDataText: event.eventDataText.slice(0, -1) + highValueEnd(event.purchaseAmount),
  };
}
