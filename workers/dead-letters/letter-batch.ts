// Fills a batch with the values of letters, mended or as they are, so that they are judged as records from Kafka are.

import { type Batch, type BatchClock } from "../../shared/pipeline/batch.ts";
import { MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import type { SpanStart } from "../../shared/pipeline/span.ts";
import type { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { errorMessage } from "../../shared/runtime/errors.ts";
import type { Letter } from "../../shared/store/dead-letters/letter-pages.ts";
import type { LetterKey } from "../../shared/store/dead-letters/selection.ts";
import { keyOf } from "../../shared/store/offsets.ts";
import { count, printable } from "../../shared/text/format.ts";
import { type Edit, editLetter } from "./edit.ts";

/** What became of letters on their way into a batch. */
export interface FilledBatch {
  /** How many of the letters were looked at: fewer where the batch is full. */
  readonly taken: number;
  /** Records of the batch whose value is not the letter's. */
  readonly mended: ReadonlySet<number>;
  /** Letters that cannot be judged, and why. */
  readonly failures: readonly (LetterKey & { readonly error: string })[];
  /** Letters that the function leaves alone. */
  readonly leftAlone: number;
}

/**
 * @param batch is emptied first
 * @param letters in the order of their keys
 */
export async function fillBatch(
  batch: Batch,
  letters: readonly Letter[],
  clock: BatchClock,
  edit?: Edit,
): Promise<FilledBatch> {
  batch.clear();
  batch.open(clock, performance.now());
  const { block } = batch;
  const slots = new Map<string, number>();
  const starts: SpanStart[] = [];
  const mended = new Set<number>();
  const failures: (LetterKey & { error: string })[] = [];
  let taken = 0;
  let leftAlone = 0;
  for (const letter of letters) {
    if (block.full) break;
    taken++;
    const edited = await valueOf(letter, edit);
    if (edited === "left alone") {
      leftAlone++;
    } else if ("error" in edited) {
      failures.push({ ...letter, error: edited.error });
    } else {
      const account = `${keyOf(letter)} ${letter.reading}`;
      const slot = slots.get(account) ?? slots.size;
      if (slot === slots.size) {
        slots.set(account, slot);
        const { topic, topicId, partition, reading, offset } = letter;
        starts.push({ topic, topicId, partition, reading, from: offset });
      }
      if (edited.isMended) mended.add(block.count);
      append(block, slot, letter.offset, edited.value);
    }
  }
  batch.read((slot) => starts[slot]);
  return { taken, mended, failures, leftAlone };
}

type Edited =
  | { readonly value: Uint8Array | undefined; readonly isMended: boolean }
  | { readonly error: string }
  | "left alone";

async function valueOf(letter: Letter, edit: Edit | undefined): Promise<Edited> {
  const { value, valueBytes } = letter;
  if (valueBytes !== null) {
    return { error: `cut off: only the first of its ${count(valueBytes)} bytes are kept; publish it again` };
  }
  if (edit === undefined) return { value: value ?? undefined, isMended: false };
  try {
    const mended = await editLetter(edit, letter);
    if (mended === undefined) return "left alone";
    if (mended.length > MAX_VALUE_BYTES)
      return {
        error: `edit: the value has ${count(mended.length)} bytes; at most ${count(MAX_VALUE_BYTES)} are accepted`,
      };
    return { value: mended, isMended: value === null || !value.equals(mended) };
  } catch (error) {
    return { error: `edit: ${printable(errorMessage(error))}` };
  }
}

function append(block: RecordBlock, slot: number, offset: number, value: Uint8Array | undefined): void {
  const index = block.count;
  block.slot[index] = slot;
  block.offset[index] = offset;
  block.leaderEpoch[index] = -1;
  block.keyStart[index] = -1;
  block.keyEnd[index] = -1;
  block.valueStart[index] = -1;
  block.valueEnd[index] = -1;
  if (value !== undefined) {
    const start = block.reserve(value.length);
    block.bytes.set(value, start);
    block.valueStart[index] = start;
    block.valueEnd[index] = start + value.length;
  }
  block.count++;
}
