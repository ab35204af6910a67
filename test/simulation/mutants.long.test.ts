// Tests that the simulation finds faults that are planted in the worker and the store.
import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { mutatedCopy } from "../support/mutated-copy.ts";
import { MUTANT_NAMES } from "../support/mutants.ts";
import { runHistory } from "./history.ts";

const FIRST_SEED = 20_001;
/** On one core a minute. The rarest fault, rows that are locked out of order, has taken 5, 10, 521 and 2,814 histories. */
const MAX_HISTORIES = 6000;

/** The first history from a seed on that does not hold for the program in a folder. */
async function firstFailure(
  root: string,
  seed: number,
): Promise<{ readonly seed: number; readonly failure: string } | undefined> {
  const histories = FIRST_SEED + MAX_HISTORIES - seed;
  const run = Bun.spawn(
    [process.execPath, resolve(root, "test/simulation/run.ts"), "--until-failure"].concat(
      ["--seed", String(seed)],
      ["--histories", String(histories)],
    ),
    { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
  );
  const output = await run.stdout.text();
  const [, found, failure] = /^history (\d+) does not hold: (.*)$/m.exec(output) ?? [];
  return found === undefined ? undefined : { seed: Number(found), failure: failure! };
}

test.each(MUTANT_NAMES)(
  "the planted fault '%s' is found",
  async (name) => {
    await using copy = await mutatedCopy(name);
    let found = await firstFailure(copy.root, FIRST_SEED);
    // A history that does not hold without the fault either shows nothing.
    while (found !== undefined && runHistory(found.seed).failure !== undefined) {
      found = await firstFailure(copy.root, found.seed + 1);
    }
    if (found === undefined) throw new Error(`${MAX_HISTORIES} histories hold in spite of it`);
    expect(found.failure, "the models must know what the fault does").not.toContain(
      "the model of PostgreSQL",
    );
    process.stdout.write(`${name}: found by history ${found.seed}: ${found.failure}\n`);
  },
  600_000,
);
