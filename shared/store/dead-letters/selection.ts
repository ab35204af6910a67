// Selects dead letters by state, reason, topic and time, or one by one.

import type { RejectionReason } from "../../event.ts";
import type { ReadingKey } from "../../pipeline/span.ts";
import { numberArray, textArray } from "../array-literal.ts";
import { keyArrays } from "../offsets.ts";
import type { Transaction } from "../session.ts";

/** What became of a dead letter. `open`: nothing yet; `stored` and `duplicate`: it was replayed. */
export const LETTER_STATES = ["open", "stored", "duplicate", "discarded"] as const;
export type LetterState = (typeof LETTER_STATES)[number];

/** The position of a dead letter's record in Kafka. */
export interface LetterKey extends ReadingKey {
  readonly offset: number;
}

/** The key alone. */
export function letterKey({ topic, topicId, partition, reading, offset }: LetterKey): LetterKey {
  return { topic, topicId, partition, reading, offset };
}

/** Letters that meet all of these conditions; one that is undefined holds for every letter. */
export interface LetterSelection {
  readonly states: readonly LetterState[];
  readonly reasons?: readonly RejectionReason[] | undefined;
  readonly topic?: string | undefined;
  /** The earliest first_seen_at, ms since 1970. */
  readonly sinceMs?: number | undefined;
  /** The first_seen_at behind the last, ms since 1970. */
  readonly untilMs?: number | undefined;
  readonly keys?: readonly LetterKey[] | undefined;
}

/** The parameters of a statement for `unnest(text[], text[], int[], int[], bigint[])`. */
export function letterKeyArrays(keys: readonly LetterKey[]): [string, string, string, string, string] {
  return [
    ...keyArrays(keys),
    numberArray(keys.map(({ reading }) => reading)),
    numberArray(keys.map(({ offset }) => offset)),
  ];
}

/** The conditions on topic and time, each with an `and` before it, for a table that is called d. */
export function placeCondition(
  tx: Transaction,
  { topic, sinceMs, untilMs }: Pick<LetterSelection, "topic" | "sinceMs" | "untilMs">,
) {
  return tx`
    ${topic === undefined ? tx`` : tx`and d.topic = ${topic}`}
    ${sinceMs === undefined ? tx`` : tx`and d.first_seen_at >= ${new Date(sinceMs)}`}
    ${untilMs === undefined ? tx`` : tx`and d.first_seen_at < ${new Date(untilMs)}`}`;
}

/** All conditions, for a table that is called d. */
export function selectionCondition(tx: Transaction, selection: LetterSelection) {
  const { states, reasons, keys } = selection;
  const [topics, topicIds, partitions, readings, offsets] = letterKeyArrays(keys ?? []);
  return tx`
    d.state = any(${textArray(states)}::text[])
    ${reasons === undefined ? tx`` : tx`and d.reason = any(${textArray(reasons)}::text[])`}
    ${placeCondition(tx, selection)}
    ${
      keys === undefined
        ? tx``
        : tx`and (d.topic, d.topic_id, d.partition, d.reading, d."offset") in (
            select * from unnest(${topics}::text[], ${topicIds}::text[], ${partitions}::int[], ${readings}::int[],
              ${offsets}::bigint[]))`
    }`;
}
