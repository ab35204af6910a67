// Tests that the event reader agrees with JSON.parse on valid and on corrupted records.
// READERS_SEED=<seed> repeats a run.
import { describe, expect, test } from "bun:test";
import type { PipelineEvent, Rejection } from "../../shared/event.ts";
import { EventReader } from "../../shared/pipeline/event-reader.ts";
import { EventRows } from "../../shared/pipeline/event-rows.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { readPlainly } from "../pipeline/plain-reader.ts";
import { addRecord, enriched, NOW_MS, SKEW_MS } from "../pipeline/record.ts";
import { SeededChoices } from "../support/seeded-random.ts";
import { corruptedRecord } from "./corrupted-record.ts";
import { VALID_FORMS, validRecord } from "./valid-record.ts";

const SEED = Number(process.env["READERS_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const CASES = 200_000;
const BLOCK_RECORDS = 500;
const TIMEOUT_MS = 300_000;

/** One reader for all records, as in a batch: what it remembers of one record must not show in another. */
const reader = new EventReader();
const rows = new EventRows(1);

/**
 * Reads records from one block, so that another record follows each, and by JSON.parse. -0 differs from 0, and a
 * missing member from an undefined one.
 *
 * @returns what both made of the records
 * @throws Error where they disagree, be it on the text of an error
 */
function readBothWays(records: readonly Uint8Array[]): (PipelineEvent | Rejection)[] {
  const block = new RecordBlock(records.length);
  for (const [offset, value] of records.entries()) addRecord(block, { offset, value });
  return records.map((value, index) => {
    const read = reader.read(block.bytes, block.valueStart[index]!, block.valueEnd[index]!, NOW_MS, SKEW_MS);
    const plain = readPlainly(value, NOW_MS, SKEW_MS);
    if (Bun.deepEquals(read, plain, true) && isInRow(read, index)) return read;
    const quoted = JSON.stringify(Buffer.from(value).toString("latin1"));
    throw new Error(
      `the readers disagree about ${quoted} (as Latin-1)\n` +
        `event reader: ${Bun.inspect(read)}\nJSON.parse: ${Bun.inspect(plain)}`,
    );
  });
}

/** True where the row of an event that was just read says the same. */
function isInRow(read: PipelineEvent | Rejection, record: number): boolean {
  if ("reason" in read) return true;
  rows.clear();
  rows.add(reader, record, NOW_MS);
  return Bun.deepEquals(rows.event(0), enriched(read), true);
}

describe(`the event reader with READERS_SEED=${SEED}`, () => {
  test.each(VALID_FORMS)(
    "reads a valid record as JSON.parse does: %s",
    (form) => {
      const choices = new SeededChoices(SEED);
      const records = Array.from({ length: 2000 }, () => Buffer.from(validRecord(choices, form)));
      for (const read of readBothWays(records)) expect(read).not.toHaveProperty("reason");
    },
    TIMEOUT_MS,
  );

  test(
    `agrees with JSON.parse on ${CASES} records, most of them corrupted`,
    () => {
      const choices = new SeededChoices(SEED);
      const counts: Record<string, number> = {};
      for (let done = 0; done < CASES; done += BLOCK_RECORDS) {
        const records = Array.from({ length: BLOCK_RECORDS }, () => {
          const sound = Buffer.from(validRecord(choices, choices.one(VALID_FORMS)));
          return choices.once(10) ? sound : corruptedRecord(choices, sound);
        });
        for (const read of readBothWays(records)) {
          const outcome = "reason" in read ? read.reason : "event";
          counts[outcome] = (counts[outcome] ?? 0) + 1;
        }
      }
      // Enough records are still events, enough are not, and they are rejected for every reason that bytes can give.
      expect(counts["event"]! / CASES).toBeGreaterThan(0.2);
      expect(counts["event"]! / CASES).toBeLessThan(0.8);
      expect(Object.keys(counts).toSorted()).toEqual([
        "event",
        "future_timestamp",
        "invalid_timestamp",
        "missing_field",
        "not_an_object",
        "not_json",
        "not_utf8",
        "out_of_range",
        "too_deep",
        "unstorable_text",
        "wrong_type",
      ]);
    },
    TIMEOUT_MS,
  );
});
