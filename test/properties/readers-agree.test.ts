// Tests that every record that the fast reader accepts gives the same event through decode and validate.
// READERS_SEED=<seed> repeats a run, READERS_CASES=<n> sets the number of corrupted records.
import { describe, expect, test } from "bun:test";
import type { PipelineEvent, Rejection } from "../../shared/event.ts";
import { decode } from "../../shared/pipeline/decode.ts";
import { FastReader } from "../../shared/pipeline/fast-reader.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { validate } from "../../shared/pipeline/validate.ts";
import { addRecord, NOW_MS, SKEW_MS } from "../pipeline/record.ts";
import { SeededChoices } from "../support/seeded-random.ts";
import { corruptedRecord } from "./corrupted-record.ts";
import { VALID_FORMS, validRecord } from "./valid-record.ts";

const SEED = Number(process.env["READERS_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const CASES = Number(process.env["READERS_CASES"] ?? 120_000);
const BLOCK_RECORDS = 500;
const TIMEOUT_MS = 120_000;

/** One reader for all records, as in a batch: what it remembers of one record must not show in another. */
const reader = new FastReader();

interface Reading {
  readonly bytes: Uint8Array;
  readonly fast: PipelineEvent | undefined;
  readonly plain: PipelineEvent | Rejection;
}

/** Reads records both ways from one block, so that another record follows each. */
function* readings(records: readonly Uint8Array[]): Generator<Reading> {
  const block = new RecordBlock(records.length);
  for (const [offset, value] of records.entries()) addRecord(block, { offset, value });
  for (const [index, bytes] of records.entries()) {
    const start = block.valueStart[index]!;
    const end = block.valueEnd[index]!;
    const fast = reader.read(block.bytes, start, end, NOW_MS, SKEW_MS);
    const decoded = decode(block.bytes, start, end);
    const plain = "reason" in decoded ? decoded : validate(decoded, NOW_MS, SKEW_MS);
    yield { bytes, fast, plain };
  }
}

/** Fails when the readers disagree. -0 differs from 0, and a missing member from an undefined one. */
function expectAgreement({ bytes, fast, plain }: Reading): void {
  if (fast === undefined || Bun.deepEquals(fast, plain, true)) return;
  const quoted = JSON.stringify(Buffer.from(bytes).toString("latin1"));
  throw new Error(
    `the readers disagree about ${quoted} (as Latin-1)\n` +
      `fast:  ${Bun.inspect(fast)}\nplain: ${Bun.inspect(plain)}`,
  );
}

describe(`the two readers with READERS_SEED=${SEED}`, () => {
  test.each(VALID_FORMS)(
    "both read a valid record: %s",
    (form) => {
      const choices = new SeededChoices(SEED);
      const records = Array.from({ length: 2_000 }, () => Buffer.from(validRecord(choices, form)));
      for (const reading of readings(records)) {
        expectAgreement(reading);
        if (reading.fast === undefined) {
          throw new Error(`the fast reader leaves ${Buffer.from(reading.bytes).toString()}`);
        }
      }
    },
    TIMEOUT_MS,
  );

  test(
    `agree on ${CASES} corrupted records`,
    () => {
      const choices = new SeededChoices(SEED);
      let plainEvents = 0;
      let fastEvents = 0;
      for (let done = 0; done < CASES; done += BLOCK_RECORDS) {
        const records = Array.from({ length: BLOCK_RECORDS }, () =>
          corruptedRecord(choices, Buffer.from(validRecord(choices, choices.one(VALID_FORMS)))),
        );
        for (const reading of readings(records)) {
          expectAgreement(reading);
          if (reading.fast !== undefined) fastEvents++;
          if (!("reason" in reading.plain)) plainEvents++;
        }
      }
      // Enough records are still events, and enough are not.
      expect(fastEvents / CASES).toBeGreaterThan(0.2);
      expect(plainEvents / CASES).toBeLessThan(0.8);
      expect(fastEvents / plainEvents).toBeGreaterThan(0.75);
    },
    TIMEOUT_MS,
  );
});
