// Builds records, record blocks and batches for tests.
import type { PipelineEvent, Rejection, StoredEvent } from "../../shared/event.ts";
import { Batch, type BatchClock } from "../../shared/pipeline/batch.ts";
import type { SpanStart } from "../../shared/pipeline/span.ts";
import { enrich } from "../../shared/pipeline/enrich.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import type { RecordHeader } from "../../shared/pipeline/record-headers.ts";

/** 2026-03-14T09:26:53.589Z */
export const NOW_MS = 1_773_480_413_589;
/** A day, the default of MAX_FUTURE_SKEW_SECONDS. */
export const SKEW_MS = 86_400_000;
export const CLOCK: BatchClock = { processedAtMs: NOW_MS, maxFutureSkewMs: SKEW_MS };

/** A record as a test describes it. */
export interface TestRecord {
  readonly offset: number;
  /** The partition's slot in the client's list; 0 if not given. */
  readonly slot?: number;
  readonly key?: string | Uint8Array;
  /** Undefined: a tombstone. */
  readonly value: string | Uint8Array | undefined;
  readonly headers?: readonly RecordHeader[];
  /** Not known if not given. */
  readonly leaderEpoch?: number;
}

/** The members of a valid event. */
export const GOOD_EVENT = {
  event_id: "page_view_1773480413000_k3",
  user_id: "user_7",
  event_type: "page_view",
  timestamp: "2026-03-14T09:26:53.123456Z",
  event_data: {},
};

/** JSON text of a valid event with some members changed; a member set to undefined is left out. */
export function eventText(changes: Readonly<Record<string, unknown>> = {}): string {
  return JSON.stringify({ ...GOOD_EVENT, ...changes });
}

/** JSON text of a valid event with exactly this text of event_data. */
export function eventTextWith(
  eventDataText: string,
  changes: Readonly<Record<string, unknown>> = {},
): string {
  const others = JSON.stringify({ ...GOOD_EVENT, ...changes, event_data: undefined });
  return `${others.slice(0, -1)},"event_data":${eventDataText}}`;
}

/** JSON text of a valid event with this event_id. */
export function eventWithId(event_id: string): string {
  return eventText({ event_id });
}

/** Adds a record at the block's end. */
export function addRecord(block: RecordBlock, record: TestRecord): void {
  const index = block.count;
  block.slot[index] = record.slot ?? 0;
  block.offset[index] = record.offset;
  block.leaderEpoch[index] = record.leaderEpoch ?? -1;
  const [keyStart, keyEnd] = put(block, record.key);
  block.keyStart[index] = keyStart;
  block.keyEnd[index] = keyEnd;
  const [valueStart, valueEnd] = put(block, record.value);
  block.valueStart[index] = valueStart;
  block.valueEnd[index] = valueEnd;
  if (record.headers !== undefined) putHeaders(block, record.headers);
  block.count++;
}

function putHeaders(block: RecordBlock, headers: readonly RecordHeader[]): void {
  block.beginHeaders();
  for (const { name, value } of headers) {
    const start = block.addHeader(Buffer.from(name), value?.length);
    if (start !== undefined && value !== undefined) block.bytes.set(value, start);
  }
}

function put(block: RecordBlock, content: string | Uint8Array | undefined): [start: number, end: number] {
  if (content === undefined) return [-1, -1];
  const bytes = Buffer.from(content as Uint8Array);
  const start = block.reserve(bytes.length);
  bytes.copy(block.bytes, start);
  return [start, start + bytes.length];
}

/**
 * A batch that has read these records.
 * @param starts by slot: the partition, and the offset at which its span begins
 */
export function batchOf(
  records: readonly TestRecord[],
  starts: readonly SpanStart[],
  clock: BatchClock = CLOCK,
): Batch {
  const batch = new Batch(Math.max(1, records.length));
  batch.open(clock, 0);
  for (const record of records) addRecord(batch.block, record);
  batch.read((slot) => starts[slot]);
  return batch;
}

const reader = new EventReader();

/** Reads a text as a record, with a day of skew. */
export function readText(text: string | Uint8Array, nowMs = NOW_MS): PipelineEvent | Rejection {
  return reader.readValue(Buffer.from(text as Uint8Array), nowMs, SKEW_MS);
}

/** Like `readText`, for a text that must be a valid event. */
export function eventOf(text: string, nowMs = NOW_MS): PipelineEvent {
  const event = readText(text, nowMs);
  if ("reason" in event) throw new Error(`rejected: ${event.reason}, ${event.error}`);
  return event;
}

/** The event as it is stored. */
export function enriched(event: PipelineEvent): StoredEvent {
  const { purchaseAmount: _, ...stored } = enrich(event);
  return stored;
}
