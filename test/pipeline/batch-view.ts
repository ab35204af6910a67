// Describes where a test's batch begins and what it contains, in terms that compare well.
import type { Batch, BatchEvent } from "../../shared/pipeline/batch.ts";
import type { SpanStart } from "../../shared/pipeline/span.ts";

export function spanStart(partition: number, from = 0, topic = "user-events"): SpanStart {
  return { topic, topicId: `id-of-${topic}`, partition, reading: 0, from };
}

/** `id topic[partition]@offset` of each event, sorted. */
export function places(events: readonly BatchEvent[]): string[] {
  return events
    .map(({ event, span, offset }) => `${event.eventId} ${span.topic}[${span.partition}]@${offset}`)
    .toSorted();
}

/** The events that a batch stores, as objects. */
export function distinctEvents(batch: Batch): readonly BatchEvent[] {
  return batch.eventsOf(batch.distinct());
}

/** The counts of each span. */
export function spanCounts(batch: Batch) {
  return [...batch.spans.values()].map(({ partition, from, to, consumed, duplicates, deadLettered }) => ({
    partition,
    from,
    to,
    consumed,
    duplicates,
    deadLettered,
  }));
}
