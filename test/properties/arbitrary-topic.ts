// Generates topics: partitions of valid and invalid records, each with its expected outcome.

import fc from "fast-check";
import type { RejectionReason } from "../../shared/event.ts";
import { HOUR_MS } from "../../shared/pipeline/aggregate.ts";
import { eventText, NOW_MS, type TestRecord } from "../pipeline/record.ts";
import { REFUSED_DATA } from "../support/refused-content.ts";

/** The content of an event without its id. */
export interface Content {
  readonly userId: string;
  readonly eventType: string;
  /** Microseconds since 1970, UTC. */
  readonly micros: bigint;
  readonly durationMs: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A record and its outcome in the fold. */
export interface ScenarioRecord extends TestRecord {
  readonly partition: number;
  /** Undefined where the record is rejected. */
  readonly event: { readonly id: string; readonly content: Content } | undefined;
  readonly reason: RejectionReason | undefined;
}

/** The records of a topic. */
export interface TopicScenario {
  /** By partition: the records in the order of their offsets, which have gaps. */
  readonly partitions: readonly (readonly ScenarioRecord[])[];
  /** By partition: the first offset of the log. */
  readonly beginnings: readonly number[];
}

export interface ScenarioOptions {
  /**
   * - `same`: ids repeat with the same content
   * - `differing`: ids repeat with content that may differ
   * - `none`: every id is used once
   */
  readonly duplicates: "same" | "differing" | "none";
  /** False: without raw rows PostgreSQL refuses no event. */
  readonly saveRawEvents: boolean;
}

const EVENT_TYPES = ["page_view", "purchase", "login", 'odd "type", {é}\\'];
const USERS = ["user_1", "user_2", "user_3", "NULL", "ü,{}"];

const content: fc.Arbitrary<Content> = fc.record({
  userId: fc.constantFrom(...USERS),
  eventType: fc.constantFrom(...EVENT_TYPES),
  micros: fc
    .tuple(
      // This hour, hours that are about to close, and long past ones.
      fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        fc.integer({ min: -3, max: 0 }),
        fc.integer({ min: -400_000, max: 0 }),
      ),
      fc.oneof(fc.integer({ min: 0, max: 3_600_000_000 - 1 }), fc.constantFrom(0, 3_600_000_000 - 1)),
    )
    .map(
      ([hours, micros]) => BigInt((Math.floor(NOW_MS / HOUR_MS) + hours) * HOUR_MS) * 1000n + BigInt(micros),
    ),
  durationMs: fc.option(
    fc.oneof(fc.integer({ min: 0, max: 10_000 }), fc.constantFrom(0, 1, 1e12 - 1, 1e12)),
    { nil: undefined },
  ),
  data: fc.oneof(
    fc.constant({}),
    fc.record({ page: fc.constantFrom("/", '/"quoted"', "/é"), depth: fc.constant([1, { a: null }]) }),
    fc.record({
      amount: fc.constantFrom(5, 100, 100.01, 5000, "150", null),
      is_high_value: fc.constantFrom("mine", false),
    }),
  ),
});

/** A record without an offset: an event by number, or a kind of invalid record, after a gap of so many offsets. */
type Draft =
  | { kind: "event"; id: number; variant: number; gap: number }
  | { kind: "invalid"; how: keyof typeof INVALID_RECORDS; n: number; gap: number };

/** Invalid records and their reasons. */
export const INVALID_RECORDS = {
  tombstone: { value: undefined, reason: "tombstone" },
  notJson: { value: '{"event_id":', reason: "not_json" },
  notUtf8: { value: Uint8Array.of(0x7b, 0xff, 0x7d), reason: "not_utf8" },
  notAnObject: { value: "[]", reason: "not_an_object" },
  missing: { value: '{"event_id":"x"}', reason: "missing_field" },
  nul: { value: '{"event_id":"a\\u0000"}', reason: "unstorable_text" },
  invalidTime: {
    value: eventText({ timestamp: "2026-02-30T00:00:00Z" }),
    reason: "invalid_timestamp",
  },
  future: { value: eventText({ timestamp: "2099-01-01T00:00:00Z" }), reason: "future_timestamp" },
  /** A valid event that PostgreSQL refuses. */
  refused: { value: undefined, reason: "refused_by_database" },
} as const satisfies Record<string, { value: string | Uint8Array | undefined; reason: RejectionReason }>;

const gap = fc.oneof(
  { weight: 8, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) },
);

function draft(ids: number): fc.Arbitrary<Draft> {
  const event = fc.record({
    kind: fc.constant("event" as const),
    id: fc.nat({ max: ids - 1 }),
    variant: fc.nat({ max: 2 }),
    gap,
  });
  const invalid = fc.record({
    kind: fc.constant("invalid" as const),
    how: fc.constantFrom(...(Object.keys(INVALID_RECORDS) as (keyof typeof INVALID_RECORDS)[])),
    n: fc.nat(),
    gap,
  });
  return fc.oneof({ weight: 5, arbitrary: event }, { weight: 1, arbitrary: invalid });
}

/** Topics of 1 to 4 partitions with up to 30 records each. */
export function arbitraryTopic(options: ScenarioOptions): fc.Arbitrary<TopicScenario> {
  const ids = 25;
  return fc
    .record({
      contents: fc.array(content, { minLength: 3 * ids, maxLength: 3 * ids }),
      partitions: fc.array(fc.array(draft(ids), { maxLength: 30, size: "max" }), {
        minLength: 1,
        maxLength: 4,
        size: "max",
      }),
      beginnings: fc.array(fc.constantFrom(0, 0, 17, 5_000_000_000), { minLength: 4, maxLength: 4 }),
    })
    .map(({ contents, partitions, beginnings }) => ({
      beginnings: beginnings.slice(0, partitions.length),
      partitions: partitions.map((drafts, partition) => {
        let offset = beginnings[partition]!;
        return drafts.map((each, index) => {
          offset += each.gap;
          return place(
            each,
            { partition, offset: offset++, unique: `${partition}_${index}` },
            contents,
            options,
          );
        });
      }),
    }));
}

interface Place {
  readonly partition: number;
  readonly offset: number;
  readonly unique: string;
}

function place(
  each: Draft,
  { partition, offset, unique }: Place,
  contents: readonly Content[],
  { duplicates, saveRawEvents }: ScenarioOptions,
): ScenarioRecord {
  const key = `key_${unique}`;
  if (each.kind === "invalid" && each.how !== "refused") {
    const { value, reason } = INVALID_RECORDS[each.how];
    return { partition, offset, key, value, event: undefined, reason };
  }
  const isRefused = each.kind === "invalid";
  const number =
    each.kind === "invalid"
      ? each.n % contents.length
      : each.id * 3 + (duplicates === "differing" ? each.variant : 0);
  const said = contents[number]!;
  const id = isRefused || duplicates === "none" ? `event_${unique}` : `event_${each.id}`;
  if (!isRefused)
    return {
      partition,
      offset,
      key,
      value: recordText(id, said),
      event: { id, content: said },
      reason: undefined,
    };
  const value = recordText(id, { ...said, data: { ...said.data, ...(JSON.parse(REFUSED_DATA) as object) } });
  return saveRawEvents
    ? { partition, offset, key, value, event: undefined, reason: "refused_by_database" }
    : { partition, offset, key, value, event: { id, content: said }, reason: undefined };
}

/** The JSON text of an event. */
export function recordText(id: string, { userId, eventType, micros, durationMs, data }: Content): string {
  return eventText({
    event_id: id,
    user_id: userId,
    event_type: eventType,
    timestamp: `${new Date(Number(micros / 1000n)).toISOString().slice(0, -1)}${String(micros % 1000n).padStart(3, "0")}Z`,
    event_data: data,
    ...(durationMs === undefined ? {} : { duration_seconds: durationMs / 1000 }),
  });
}
