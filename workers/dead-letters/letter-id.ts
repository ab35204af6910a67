// Writes the position of a dead letter as one word, and reads it: TOPIC/PARTITION/OFFSET.

import { FatalError } from "../../shared/runtime/errors.ts";
import { findLetterKeys, type LetterPosition } from "../../shared/store/dead-letters/letter-pages.ts";
import type { LetterKey } from "../../shared/store/dead-letters/selection.ts";
import type { Transaction } from "../../shared/store/session.ts";

// Logs and the console write topic[partition]@offset.
const ID = /^([^/[\]]+)(?:\/(\d{1,9})\/|\[(\d{1,9})\]@)(\d{1,15})(?:\/(\d{1,9})(?:\/(.+))?)?$/;

/** "user-events/3/1234" */
export function formatLetterId({ topic, partition, offset }: LetterPosition): string {
  return `${topic}/${partition}/${offset}`;
}

/** With the reading and the id of the topic, for a position that has several letters. */
function formatLongId(key: LetterKey): string {
  return `${formatLetterId(key)}/${key.reading}/${key.topicId}`;
}

/** @returns undefined for a text that is no id */
export function parseLetterId(text: string): LetterPosition | undefined {
  const [matched, topic, afterSlash, inBrackets, offset, reading, topicId] = ID.exec(text) ?? [];
  if (matched === undefined) return undefined;
  return {
    topic: topic!,
    partition: Number(afterSlash ?? inBrackets),
    offset: Number(offset),
    reading: reading === undefined ? undefined : Number(reading),
    topicId,
  };
}

/** @throws FatalError for a position without a letter, or with several */
export async function resolveLetterId(tx: Transaction, position: LetterPosition): Promise<LetterKey> {
  const found = await findLetterKeys(tx, position);
  const [key, ...others] = found;
  const id = formatLetterId(position);
  if (key === undefined) throw new FatalError(`there is no dead letter ${id}`);
  if (others.length === 0) return key;
  throw new FatalError(
    `${found.length} dead letters have the id ${id}; give one of ${found.map(formatLongId).join(", ")}`,
  );
}
