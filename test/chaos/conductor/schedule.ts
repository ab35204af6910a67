// Chooses which faults come next, alone or mixed: the same order for the same seed.
import type { SeededChoices } from "../../support/seeded-random.ts";
import type { Fault } from "./fault.ts";

/** How many lanes a round has: as often as it stands here. */
const LANES = [1, 2, 2, 3, 3] as const;
/** The lanes of a round with several are filled up to so many seconds, or to its longest fault. */
const ROUND_SECONDS = 30;
const MAX_START_DELAY_MS = 3000;

/** A fault at its place in a round. */
export interface PlannedFault {
  readonly fault: Fault;
  /** Between its turn and its start. */
  readonly delayMs: number;
  /** Decides its details. */
  readonly seed: number;
}

/** Faults that follow each other. */
export type Lane = readonly PlannedFault[];

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
   * @returns lanes that run at the same time and break different parts; a single one has a single fault. None where
   *   all faults take longer
   */
  next(seconds: number): Lane[] {
    const count = this.#choices.one(LANES);
    const lanes: Fault[][] = [];
    let target = Math.min(seconds, ROUND_SECONDS);
    while (lanes.length < count) {
      const isFree = (fault: Fault) => !lanes.flat().some((other) => sharesPart(fault, other));
      const first = this.#take((fault) => fault.seconds <= seconds && isFree(fault), lanes.length === 0);
      if (first === undefined) break;
      target = Math.max(target, first.seconds);
      lanes.push([first]);
    }
    if (count > 1) for (const lane of lanes) this.#fill(lane, lanes, target);
    return lanes.map((lane) => lane.map((fault, index) => this.#plan(fault, index > 0 || lane === lanes[0])));
  }

  /** Adds faults that break no part of another lane, as long as there is time. */
  #fill(lane: Fault[], lanes: readonly Fault[][], target: number): void {
    const others = lanes.filter((other) => other !== lane).flat();
    for (;;) {
      const left = target - lane.reduce((sum, fault) => sum + fault.seconds, 0);
      const found = this.#take(
        (fault) => fault.seconds <= left && !others.some((other) => sharesPart(fault, other)),
        false,
      );
      if (found === undefined) return;
      lane.push(found);
    }
  }

  /** @param again true: a fault that had its turn may come, when all that are left do not fit */
  #take(fits: (fault: Fault) => boolean, again: boolean): Fault | undefined {
    if (this.#left.length === 0) this.#left = this.#choices.shuffled(this.#faults);
    const found = this.#left.find(fits);
    if (found === undefined) return again ? this.#choices.shuffled(this.#faults).find(fits) : undefined;
    this.#left = this.#left.filter((fault) => fault !== found);
    return found;
  }

  #plan(fault: Fault, isAtOnce: boolean): PlannedFault {
    return {
      fault,
      delayMs: isAtOnce ? 0 : this.#choices.below(MAX_START_DELAY_MS),
      seed: this.#choices.below(2 ** 31),
    };
  }
}

function sharesPart(a: Fault, b: Fault): boolean {
  return a.parts.some((part) => b.parts.includes(part));
}
