// Exports dead letters: their values as lines of JSON that PRODUCER_INPUT takes, or with --json all that is known of each.

import { countLetters } from "../../shared/store/dead-letters/letter-list.ts";
import { type Letter, readLetterPage } from "../../shared/store/dead-letters/letter-pages.ts";
import { count, plural } from "../../shared/text/format.ts";
import { type Command, DEADLINE_MS, print, say } from "./command.ts";
import { letterJson } from "./letter-json.ts";
import { Progress } from "./progress.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @returns 0, also where the reader of the lines has gone (`| head`); 1 where it was stopped */
export async function exportLetters(command: Command): Promise<number> {
  const { session, selection, stop, isJson, isDryRun } = command;
  const counts = await session.transaction(DEADLINE_MS, (tx) => countLetters(tx, selection));
  const total = counts.reduce((sum, { letters }) => sum + letters, 0);
  const progress = new Progress("exported", total);
  let after: Letter | undefined;
  let lines = 0;
  let leftOut = 0;
  while (!stop.isRequested) {
    const page = await session.transaction(DEADLINE_MS, (tx) => readLetterPage(tx, selection, after));
    if (page.length === 0) break;
    const texts = page.map((letter) => (isJson ? JSON.stringify(letterJson(letter)) : lineOf(letter)));
    const kept = texts.filter((text) => text !== undefined);
    if (!isDryRun && kept.length > 0 && !(await print(`${kept.join("\n")}\n`))) break;
    lines += kept.length;
    leftOut += texts.length - kept.length;
    after = page.at(-1);
    progress.update(lines + leftOut);
  }
  progress.end();
  const others =
    leftOut === 0
      ? ""
      : `; ${count(leftOut)} are left out, because they are not JSON, cut off or without a value: --json has them`;
  say(`${isDryRun ? "an export would write" : "exported"} ${plural(lines, "line")}${others}`);
  return stop.isRequested ? 1 : 0;
}

/** The value as one line; undefined where it is not JSON. */
function lineOf({ value, valueBytes }: Letter): string | undefined {
  if (value === null || valueBytes !== null) return undefined;
  try {
    const text = decoder.decode(value);
    JSON.parse(text);
    // Outside of strings, where JSON has them only escaped, they are white space.
    return text.replaceAll(/[\r\n]/g, " ");
  } catch {
    return undefined;
  }
}
