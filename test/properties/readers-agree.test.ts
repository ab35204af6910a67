// Two ways to read a record, one meaning: whatever the fast reader accepts, decode and validate accept with the same
// event. READERS_SEED=<seed> repeats a run, READERS_CASES=<n> makes another number of damaged records.
import { describe, expect, test } from "bun:test";
import type { PipelineEvent, Rejection } from "../../shared/event.ts";
import { decode } from "../../shared/pipeline/decode.ts";
import { FastReader } from "../../shared/pipeline/fast-reader.ts";
import { RecordBlock } from "../../shared/pipeline/record-block.ts";
import { validate } from "../../shared/pipeline/validate.ts";
import { addRecord, NOW_MS, SKEW_MS } from "../pipeline/record.ts";
import { Chance } from "../support/seeded-random.ts";
import { damaged } from "./corrupted-record.ts";
import { SOUND_FORMS, soundRecord } from "./valid-record.ts";

const SEED = Number(process.env["READERS_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const CASES = Number(process.env["READERS_CASES"] ?? 120_000);
const BLOCK_RECORDS = 500;
const TIMEOUT_MS = 120_000;

/** One reader for all records, as in a batch: what it remembers of one must not show in another. */
const reader = new FastReader();

interface Reading {
  readonly bytes: Uint8Array;
  readonly fast: PipelineEvent | undefined;
  readonly plain: PipelineEvent | Rejection;
}

/** Reads records both ways, out of one block, so that each has another one behind it. */
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

/** Fails where the readers do not agree. -0 is not 0, and a missing member is not an undefined one. */
function expectAgreement({ bytes, fast, plain }: Reading): void {
  if (fast === undefined || Bun.deepEquals(fast, plain, true)) return;
  const quoted = JSON.stringify(Buffer.from(bytes).toString("latin1"));
  throw new Error(
    `the readers disagree about ${quoted} (as Latin-1)\n` +
      `fast:  ${Bun.inspect(fast)}\nplain: ${Bun.inspect(plain)}`,
  );
}

describe(`with READERS_SEED=${SEED}`, () => {
  test.each(SOUND_FORMS)(
    "what producers send is read fast: %s",
    (form) => {
      const chance = new Chance(SEED);
      const records = Array.from({ length: 2_000 }, () => Buffer.from(soundRecord(chance, form)));
      for (const reading of readings(records)) {
        expectAgreement(reading);
        if (reading.fast === undefined) {
          throw new Error(`handed over: ${Buffer.from(reading.bytes).toString()}`);
        }
      }
    },
    TIMEOUT_MS,
  );

  test(
    `${CASES} damaged records mean the same to both`,
    () => {
      const chance = new Chance(SEED);
      let plainEvents = 0;
      let fastEvents = 0;
      for (let done = 0; done < CASES; done += BLOCK_RECORDS) {
        const records = Array.from({ length: BLOCK_RECORDS }, () =>
          damaged(chance, Buffer.from(soundRecord(chance, chance.one(SOUND_FORMS)))),
        );
        for (const reading of readings(records)) {
          expectAgreement(reading);
          if (reading.fast !== undefined) fastEvents++;
          if (!("reason" in reading.plain)) plainEvents++;
        }
      }
      // The records are not so broken that nothing is left to disagree about, and not so whole that nothing is refused.
      expect(fastEvents / CASES).toBeGreaterThan(0.2);
      expect(plainEvents / CASES).toBeLessThan(0.8);
      expect(fastEvents / plainEvents).toBeGreaterThan(0.75);
    },
    TIMEOUT_MS,
  );
});
