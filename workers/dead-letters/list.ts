// Lists dead letters: how many by state, reason and topic, then the newest of the selected states.

import {
  countLetters,
  type ListedLetter,
  newestLetters,
} from "../../shared/store/dead-letters/letter-list.ts";
import { LETTER_STATES } from "../../shared/store/dead-letters/selection.ts";
import { count } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { type Command, DEADLINE_MS, print } from "./command.ts";
import { formatLetterId } from "./letter-id.ts";

/** @param limit how many letters are listed one by one */
export async function list({ session, selection, isJson }: Command, limit: number): Promise<number> {
  const { counts, letters } = await session.transaction(DEADLINE_MS, async (tx) => {
    await tx`set transaction isolation level repeatable read read only`;
    return {
      counts: await countLetters(tx, { ...selection, states: LETTER_STATES }),
      letters: await newestLetters(tx, selection, limit),
    };
  });
  if (isJson) {
    await print(`${JSON.stringify({ counts, letters: letters.map(listedJson) })}\n`);
    return 0;
  }
  const ofState = LETTER_STATES.map((state) => {
    const those = counts.filter((row) => row.state === state);
    return `${count(those.reduce((sum, row) => sum + row.letters, 0))} ${state}`;
  });
  const lines = [
    `dead letters: ${ofState.join(", ")}`,
    ...section(
      ["state", "reason", "topic", "letters", "oldest", "newest"],
      counts.map((row) => [
        row.state,
        row.reason,
        row.topic,
        row.letters,
        text(row.oldest),
        text(row.newest),
      ]),
    ),
    letters.length === 0 ? "" : `the newest ${count(letters.length)}`,
    ...section(
      ["id", "first seen", "state", "replays", "reason", "bytes", "error"],
      letters.map((row) => [
        formatLetterId(row),
        text(row.firstSeenAt),
        row.state,
        row.attempts,
        row.reason,
        row.valueBytes,
        row.error,
      ]),
    ),
  ];
  await print(`${lines.join("\n").trimEnd()}\n`);
  return 0;
}

function listedJson(letter: ListedLetter): Record<string, unknown> {
  const { topicId: topic_id, firstSeenAt: first_seen_at, valueBytes: value_bytes, ...same } = letter;
  return { id: formatLetterId(letter), ...same, topic_id, first_seen_at, value_bytes };
}

function section(...[head, rows]: Parameters<typeof formatTable>): string[] {
  return rows.length === 0 ? [] : [...formatTable(head, rows), ""];
}

function text(instant: Date): string {
  return instant.toISOString().slice(0, 19).replace("T", " ");
}
