// The ledger of dead letters that are replayed: each moves from dead_lettered to stored or duplicates, or stays open.

import type { Batch } from "../../pipeline/batch.ts";
import type { ReadingKey, Span } from "../../pipeline/span.ts";
import { formatTimestamp } from "../../pipeline/timestamp.ts";
import { FatalError } from "../../runtime/errors.ts";
import { assertAccounted } from "../account.ts";
import { bytesArray, numberArray, textArray } from "../array-literal.ts";
import type { BatchLedger } from "../batch-ledger.ts";
import { pagesOfBytes } from "../dead-letters.ts";
import { FenceFailed, keyArrays } from "../offsets.ts";
import {
  assertState,
  type ExpectedState,
  type PipelineState,
  readPipelineState,
  stateCondition,
  stateParameters,
} from "../pipeline-state.ts";
import type { Transaction } from "../session.ts";
import { type LetterKey, letterKey, letterKeyArrays } from "./selection.ts";

/** What a replay makes of a letter. */
export interface LetterOutcome extends LetterKey {
  /** `open`: it was rejected again. */
  readonly state: "open" | "stored" | "duplicate";
  /** Why it was rejected. */
  readonly error?: string;
  /** The event that it became. */
  readonly eventId?: string;
  /** The bytes of that event, where they are not the letter's. */
  readonly mendedValue?: Uint8Array | undefined;
}

/** Thrown at the end of a transaction that was only tried. */
export class RolledBack extends Error {
  override readonly name = "RolledBack";
}

// In key order, as the fence of the consumers locks them.
const LOCK = `
  select 1 from pipeline_offsets o
    join unnest($1::text[], $2::text[], $3::int[], $4::int[]) as s (topic, topic_id, partition, reading)
      using (topic, topic_id, partition, reading)
  order by o.topic, o.topic_id, o.partition, o.reading
  for update of o`;

const SETTLE = `
  update dead_letter_events d
  set state = s.state, attempts = d.attempts + 1, changed_at = $10::timestamptz, attempt_error = nullif(s.error, ''),
    event_id = nullif(s.event_id, ''), mended_value = s.mended_value
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[])
    as s (topic, topic_id, partition, reading, "offset", state, error, event_id, mended_value)
  where d.topic = s.topic and d.topic_id = s.topic_id and d.partition = s.partition and d.reading = s.reading
    and d."offset" = s."offset" and d.state = 'open'`;

const MOVE = `
  update pipeline_offsets o
  set stored = o.stored + s.stored, duplicates = o.duplicates + s.duplicates,
    dead_lettered = o.dead_lettered - s.stored - s.duplicates, replayed = o.replayed + s.stored + s.duplicates
  from unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::bigint[])
    as s (topic, topic_id, partition, reading, stored, duplicates)
  where o.topic = s.topic and o.topic_id = s.topic_id and o.partition = s.partition and o.reading = s.reading
    and ${stateCondition("$7", "$8")}`;

/**
 * Locks the accounts of partitions, which also keeps others from changing the state of their letters.
 * @throws FatalError where one does not exist
 */
export async function lockAccounts(tx: Transaction, keys: readonly ReadingKey[]): Promise<void> {
  const rows = await tx.unsafe(LOCK, accountArrays(keys), { prepare: true });
  if (rows.count === keys.length) return;
  throw new FatalError(
    "a partition of these dead letters is missing in pipeline_offsets: run `bun run check`",
  );
}

/** Four parameters of a statement. */
export function accountArrays(keys: readonly ReadingKey[]): [string, string, string, string] {
  return [...keyArrays(keys), numberArray(keys.map(({ reading }) => reading))];
}

export interface LetterLedgerOptions {
  /** The records of the batch whose value is not the letter's. */
  readonly mended: ReadonlySet<number>;
  /** Letters that could not be judged, and why. */
  readonly failures: readonly (LetterKey & { readonly error: string })[];
  /** True: the transaction is rolled back at its end. */
  readonly isDryRun: boolean;
}

/**
 * The ledger of one batch, which holds a record for each letter that is judged, with the letter's partition and offset.
 * A letter that is no longer open refuses the whole batch: it was settled meanwhile.
 */
export class LetterLedger implements BatchLedger {
  readonly #options: LetterLedgerOptions;
  #outcomes: readonly LetterOutcome[] = [];

  constructor(options: LetterLedgerOptions) {
    this.#options = options;
  }

  /** What the transaction that ran last has made of each letter. */
  get outcomes(): readonly LetterOutcome[] {
    return this.#outcomes;
  }

  async open(tx: Transaction, spans: readonly Span[]): Promise<PipelineState> {
    await lockAccounts(tx, spans);
    return await readPipelineState(tx);
  }

  /** @throws FenceFailed */
  async record(tx: Transaction, batch: Batch, stored: Int32Array): Promise<void> {
    this.#outcomes = this.#outcomesOf(batch, new Set(stored));
    let settled = 0;
    for (const page of pagesOfBytes(this.#outcomes, ({ mendedValue }) => mendedValue?.length ?? 0)) {
      settled += await settlePage(tx, page, batch.clock.processedAtMs);
    }
    if (settled !== this.#outcomes.length) {
      throw new FenceFailed(`${this.#outcomes.length - settled} dead letters are not open any more`);
    }
  }

  async close(tx: Transaction, spans: readonly Span[], expected: ExpectedState): Promise<void> {
    for (const span of spans) assertAccounted(span);
    const counts = [spans.map((span) => span.stored), spans.map(({ duplicates }) => duplicates)];
    const result = await tx.unsafe(
      MOVE,
      [...accountArrays(spans), ...counts.map(numberArray), ...stateParameters(expected)],
      { prepare: true },
    );
    if (result.count !== spans.length) await assertState(tx, expected);
    if (this.#options.isDryRun) throw new RolledBack();
  }

  committed(): void {}

  #outcomesOf(batch: Batch, stored: ReadonlySet<number>): LetterOutcome[] {
    const { mended, failures } = this.#options;
    const outcomes: LetterOutcome[] = failures.map(({ error, ...letter }) => ({
      ...letterKey(letter),
      state: "open",
      error,
    }));
    for (const { rejection, ...letter } of batch.rejected.deadLetters()) {
      outcomes.push({
        ...letterKey(letter),
        state: "open",
        error: `${rejection.reason}: ${rejection.error}`,
      });
    }
    for (const event of batch.events) {
      if (batch.rejected.isRefused(event.row)) continue;
      outcomes.push({
        ...letterKey({ ...event.span, offset: event.offset }),
        state: stored.has(event.row) ? "stored" : "duplicate",
        eventId: event.event.eventId,
        mendedValue: mended.has(event.record) ? batch.block.value(event.record) : undefined,
      });
    }
    return outcomes;
  }
}

async function settlePage(
  tx: Transaction,
  outcomes: readonly LetterOutcome[],
  processedAtMs: number,
): Promise<number> {
  const result = await tx.unsafe(
    SETTLE,
    [
      ...letterKeyArrays(outcomes),
      textArray(outcomes.map(({ state }) => state)),
      textArray(outcomes.map(({ error = "" }) => error)),
      textArray(outcomes.map(({ eventId = "" }) => eventId)),
      bytesArray(outcomes.map(({ mendedValue }) => mendedValue)),
      formatTimestamp(processedAtMs, 0),
    ],
    { prepare: true },
  );
  return result.count;
}
