// Discards dead letters: they stay in the table with a reason, and count as discarded.

import { numberArray } from "../array-literal.ts";
import { keyOf } from "../offsets.ts";
import type { Transaction } from "../session.ts";
import { accountArrays, lockAccounts } from "./letter-ledger.ts";
import { type LetterKey, letterKeyArrays } from "./selection.ts";

const DISCARD = `
  update dead_letter_events d set state = 'discarded', discard_reason = $6, changed_at = now()
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[])
    as s (topic, topic_id, partition, reading, "offset")
  where d.topic = s.topic and d.topic_id = s.topic_id and d.partition = s.partition and d.reading = s.reading
    and d."offset" = s."offset" and d.state = 'open'
  returning d.topic, d.topic_id as "topicId", d.partition, d.reading, d."offset"`;

const COUNT = `
  update pipeline_offsets o set discarded = o.discarded + s.letters
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[])
    as s (topic, topic_id, partition, reading, letters)
  where o.topic = s.topic and o.topic_id = s.topic_id and o.partition = s.partition and o.reading = s.reading`;

/**
 * Discards those of the letters that are still open.
 * @param because for the people who come later
 * @returns how many
 */
export async function discardLetters(
  tx: Transaction,
  letters: readonly LetterKey[],
  because: string,
): Promise<number> {
  await lockAccounts(
    tx,
    [...byAccount(letters).values()].map(([first]) => first!),
  );
  const discarded = await tx.unsafe<LetterKey[]>(DISCARD, [...letterKeyArrays(letters), because], {
    prepare: true,
  });
  const accounts = [...byAccount(discarded).values()];
  await tx.unsafe(
    COUNT,
    [...accountArrays(accounts.map(([first]) => first!)), numberArray(accounts.map(({ length }) => length))],
    { prepare: true },
  );
  return discarded.length;
}

function byAccount(letters: readonly LetterKey[]): Map<string, LetterKey[]> {
  return Map.groupBy(letters, (letter) => `${keyOf(letter)} ${letter.reading}`);
}
