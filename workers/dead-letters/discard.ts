// Discards dead letters, page by page: each page is one transaction.

import { countLetters } from "../../shared/store/dead-letters/letter-list.ts";
import { discardLetters } from "../../shared/store/dead-letters/discard.ts";
import { type Letter, readLetterPage } from "../../shared/store/dead-letters/letter-pages.ts";
import { plural } from "../../shared/text/format.ts";
import { type Command, DEADLINE_MS, print, say, throughConflicts } from "./command.ts";
import { Progress } from "./progress.ts";

/** @param because what `show` tells the people who come later */
export async function discard(command: Command, because: string): Promise<number> {
  const { session, selection, stop, isDryRun, isJson } = command;
  const counts = await session.transaction(DEADLINE_MS, (tx) => countLetters(tx, selection));
  const total = counts.reduce((sum, { letters }) => sum + letters, 0);
  const discarded = isDryRun ? total : await discardPages(command, because, total);
  if (stop.isRequested) say(`stopped by ${stop.reason}; the letters that are left stay open`);
  const report = { ok: !stop.isRequested, dry_run: isDryRun, discarded, reason: because };
  const sentence = `${isDryRun ? "nothing is changed; a discard of" : "discarded"} ${plural(discarded, "dead letter")}`;
  await print(isJson ? `${JSON.stringify(report)}\n` : `${sentence}: ${because}\n`);
  return stop.isRequested ? 1 : 0;
}

/** @returns how many */
async function discardPages(command: Command, because: string, total: number): Promise<number> {
  const { session, selection, stop } = command;
  const progress = new Progress("discarded", total);
  let discarded = 0;
  let after: Letter | undefined;
  while (!stop.isRequested) {
    const page = await session.transaction(DEADLINE_MS, (tx) => readLetterPage(tx, selection, after));
    if (page.length === 0) break;
    const discardPage = () => session.transaction(DEADLINE_MS, (tx) => discardLetters(tx, page, because));
    discarded += (await throughConflicts(command, discardPage)) ?? 0;
    after = page.at(-1);
    progress.update(discarded);
  }
  progress.end();
  return discarded;
}
