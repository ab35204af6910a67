// Proves that the counts of a span add up before they are stored.

import type { Span } from "../pipeline/span.ts";
import { InvariantViolated } from "../runtime/errors.ts";

/**
 * Checks that every offset of [from, to) held a record or none, and that every record has exactly one outcome. Where not,
 * something between Kafka and the tables has lost a record or counted it twice.
 * @throws InvariantViolated
 */
export function assertAccounted(span: Span): void {
  const { topic, partition, from, to, consumed, gaps, stored, duplicates, deadLettered } = span;
  const offsets = to - from;
  if (offsets !== consumed + gaps) {
    throw new InvariantViolated(
      `${topic}[${partition}]: the batch from ${from} to ${to} has ${offsets} offsets, but counts ${consumed} records + ${gaps} gaps`,
    );
  }
  if (consumed !== stored + duplicates + deadLettered) {
    throw new InvariantViolated(
      `${topic}[${partition}]: the batch from ${from} to ${to} has ${consumed} records, but counts ${stored} stored + ${duplicates} duplicates + ${deadLettered} dead letters`,
    );
  }
}
