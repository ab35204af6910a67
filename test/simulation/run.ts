// Searches for orders of events that break the worker: `bun run simulate [--seed N] [--seconds N] [--histories N]`.

import { setImmediate as nextTurn } from "node:timers/promises";
import { ConfigurationError } from "../../shared/runtime/errors.ts";
import { runProgram } from "../../shared/runtime/run-program.ts";
import { count as formatCount } from "../../shared/text/format.ts";
import { formatTable } from "../../shared/text/table.ts";
import { Counters } from "./counters.ts";
import { FAULT_NAMES } from "./faults.ts";
import { type History, runHistory } from "./history.ts";

const DEFAULT_HISTORIES = 2000;
/** In so many histories everything that can happen must have happened. */
const ENOUGH_FOR_ALL = 10_000;
const MAX_SEED = 2 ** 32 - 1;
const SHOWN_FAILURES = 3;
const SHOWN_LINES = 60;

const USAGE = `Usage: bun run simulate [--seed N] [--histories N] [--seconds N] [--until-failure] [--verbose]

Runs the real worker, store and fence, several workers in one process, under virtual time, against models of Kafka and
PostgreSQL that crash, freeze, refuse, and lose answers. At every commit the tables must equal the fold of the records
below the stored offsets; after the last fault everything must be consumed, and no worker be paused. The seed decides
all of a history; a failing one is printed with the command that repeats it.

  --seed N         the seed of the first history; each further one adds 1 (default: chosen at random and printed)
  --histories N    how many histories (default ${DEFAULT_HISTORIES}, unless --seconds is given)
  --seconds N      as many histories as fit into N seconds
  --until-failure  ends with the first history that does not hold
  --verbose        prints all that happened in each history

From ${formatCount(ENOUGH_FOR_ALL)} histories on, a kind of event that never happened is a failure as well.

Exit code: 0 all histories hold, 1 one does not or a kind of event never happened, 2 wrong usage.
`;

const OPTIONS = {
  seed: { type: "string" },
  histories: { type: "string" },
  seconds: { type: "string" },
  "until-failure": { type: "boolean" },
  verbose: { type: "boolean" },
} as const;

await runProgram({ usage: USAGE, options: OPTIONS }, async (stop, values) => {
  const seed = values.seed === undefined ? randomSeed() : wholeNumber("--seed", values.seed, 0);
  const seconds = values.seconds === undefined ? undefined : wholeNumber("--seconds", values.seconds, 1);
  const histories =
    values.histories === undefined
      ? seconds === undefined
        ? DEFAULT_HISTORIES
        : Infinity
      : wholeNumber("--histories", values.histories, 1);
  say(`seed ${seed}`);
  const counters = new Counters();
  const failed: number[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + (seconds ?? Infinity) * 1000;
  let done = 0;
  while (done < histories && performance.now() < endsAt && !stop.isRequested) {
    const history = runHistory((seed + done) % (MAX_SEED + 1));
    counters.merge(history.counters);
    done++;
    if (history.failure !== undefined) failed.push(history.seed);
    if (values.verbose) showTrace(history, Infinity);
    if (history.failure !== undefined && failed.length <= SHOWN_FAILURES) {
      showFailure(history, values.verbose ? 0 : SHOWN_LINES);
    }
    if (values["until-failure"] && failed.length > 0) break;
    // A signal is heard only here.
    await nextTurn();
  }
  showCounters(counters);
  const minutes = (performance.now() - startedAt) / 60_000;
  const rate = formatCount(Math.round(done / minutes));
  say(`${formatCount(done)} histories in ${(minutes * 60).toFixed(1)} s (${rate} a minute), seed ${seed}`);
  const missing = done >= ENOUGH_FOR_ALL ? counters.missing(FAULT_NAMES) : [];
  if (missing.length > 0) say(`never happened: ${missing.join(", ")}`);
  if (failed.length > 0) say(`failed with the seeds ${failed.join(", ")}`);
  else if (missing.length === 0) say("ok: all histories hold");
  return failed.length > 0 || missing.length > 0 ? 1 : 0;
});

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

function wholeNumber(option: string, text: string, least: number): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= least && number <= MAX_SEED) return number;
  throw new ConfigurationError([
    `${option} ${text}: must be a whole number from ${least} to ${MAX_SEED} (see --help)`,
  ]);
}

function showFailure(history: History, lines: number): void {
  say(`\nhistory ${history.seed} does not hold: ${history.failure}`);
  showTrace(history, lines);
  say(`repeat it: bun run simulate --seed ${history.seed} --histories 1 --verbose\n`);
}

function showTrace({ trace }: History, lines: number): void {
  if (lines > 0) say(trace.lines(lines).join("\n"));
}

function showCounters(counters: Counters): void {
  say(formatTable(["happened", "times"], counters.entries()).join("\n"));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
