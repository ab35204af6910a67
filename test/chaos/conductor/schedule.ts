// Chooses which faults come next, alone or mixed: the same order for the same seed.
import type { SeededChoices } from "../../support/seeded-random.ts";
import type { Fault } from "./fault.ts";

/** How many faults a round has: as often as it stands here. */
const ROUND_SIZES = [1, 1, 2, 2, 3] as const;

/** Deals the faults like cards: each has its turn before any comes twice. */
export class Schedule {
  readonly #faults: readonly Fault[];
  readonly #choices: SeededChoices;
  #left: Fault[] = [];

  constructor(faults: readonly Fault[], choices: SeededChoices) {
    if (faults.length === 0) throw new Error("there is no fault to choose from");
    this.#faults = faults;
    this.#choices = choices;
  }

  /**
   * @param seconds how much time is left: longer faults are passed over, but not lost
   * @returns faults that break different parts; none where all take longer
   */
  next(seconds: number): Fault[] {
    const size = this.#choices.one(ROUND_SIZES);
    const round: Fault[] = [];
    const fits = (fault: Fault) =>
      fault.seconds <= seconds && !round.some((other) => sharesPart(fault, other));
    while (round.length < size) {
      if (this.#left.length === 0) this.#left = this.#choices.shuffled(this.#faults);
      let found = this.#left.find(fits);
      // The first of a round may also be one that had its turn, when all that are left are too long.
      if (found === undefined && round.length === 0) found = this.#choices.shuffled(this.#faults).find(fits);
      if (found === undefined) break;
      this.#left = this.#left.filter((fault) => fault !== found);
      round.push(found);
      if (this.#faults.length === 1) break;
    }
    return round;
  }
}

function sharesPart(a: Fault, b: Fault): boolean {
  return a.parts.some((part) => b.parts.includes(part));
}
