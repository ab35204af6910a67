// Replays dead letters: judges their values again, mended or as they are, and stores the events in the usual transaction.

import { Batch } from "../../shared/pipeline/batch.ts";
import { countLetters } from "../../shared/store/dead-letters/letter-list.ts";
import {
  LetterLedger,
  type LetterOutcome,
  RolledBack,
} from "../../shared/store/dead-letters/letter-ledger.ts";
import { type Letter, readLetterPage } from "../../shared/store/dead-letters/letter-pages.ts";
import { Store } from "../../shared/store/store.ts";
import { type Command, DEADLINE_MS, print, say, throughConflicts } from "./command.ts";
import type { Edit } from "./edit.ts";
import { type FilledBatch, fillBatch } from "./letter-batch.ts";
import { Progress } from "./progress.ts";
import { ReplayTally } from "./replay-tally.ts";

/** The most letters of one transaction: consumers wait for the partitions of a batch while it is stored. */
const LETTERS_AT_ONCE = 2000;

export interface ReplayOptions {
  readonly edit: Edit | undefined;
  /** Letters a second; undefined: as fast as it goes. */
  readonly rate: number | undefined;
}

/** @returns 0 where every selected letter was stored, a duplicate or left alone, else 1 */
export async function replay(command: Command, { edit, rate }: ReplayOptions): Promise<number> {
  const { session, config, stop, selection, isDryRun, isJson } = command;
  const { saveRawEvents, copyRawEvents, hourGraceMinutes, maxFutureSkewSeconds } = config.consumer;
  const store = new Store(session, { saveRawEvents, copyRawEvents, hourGraceMs: hourGraceMinutes * 60_000 });
  const size = Math.ceil(Math.min(LETTERS_AT_ONCE, rate ?? LETTERS_AT_ONCE));
  const batch = new Batch(size);
  const counts = await session.transaction(DEADLINE_MS, (tx) => countLetters(tx, selection));
  const progress = new Progress(
    isDryRun ? "tried" : "replayed",
    counts.reduce((sum, { letters }) => sum + letters, 0),
  );
  const tally = new ReplayTally(isDryRun);
  let after: Letter | undefined;
  // Read again after a conflict: others may have settled some of its letters.
  const replayPage = async () => {
    const page = await session.transaction(DEADLINE_MS, (tx) => readLetterPage(tx, selection, after, size));
    const clock = { processedAtMs: session.now(), maxFutureSkewMs: maxFutureSkewSeconds * 1000 };
    const filled = await fillBatch(batch, page, clock, edit);
    tally.add(await settle(store, batch, filled, isDryRun), filled.leftAlone);
    return page[filled.taken - 1];
  };
  while (!stop.isRequested) {
    after = await throughConflicts(command, replayPage);
    if (after === undefined) break;
    progress.update(tally.letters);
    if (rate !== undefined) {
      await stop.orStopped(Bun.sleep(Math.max(0, tally.letters / rate - progress.seconds) * 1000));
    }
  }
  progress.end();
  if (stop.isRequested)
    say(`stopped by ${stop.reason}; the letters that are left stay open: run it again to go on`);
  await print(
    isJson ? `${JSON.stringify(tally.report(progress.seconds))}\n` : tally.format(progress.seconds),
  );
  return tally.isWell && !stop.isRequested ? 0 : 1;
}

/** One transaction. */
async function settle(
  store: Store,
  batch: Batch,
  { mended, failures }: FilledBatch,
  isDryRun: boolean,
): Promise<readonly LetterOutcome[]> {
  if (batch.isEmpty && failures.length === 0) return [];
  const ledger = new LetterLedger({ mended, failures, isDryRun });
  try {
    await store.commit(batch, undefined, ledger);
  } catch (error) {
    if (!(error instanceof RolledBack)) throw error;
  }
  return ledger.outcomes;
}
