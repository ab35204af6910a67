// Ways to do the same in; each done several times, in turn, out, and the middle of what that took.
import { rate } from "../shared/text/format.ts";
import type { ConsumerRound } from "./report.ts";

export interface RoundOptions {
  readonly rounds: number;
  /** Told after each round. */
  readonly say: (line: string) => void;
}

/**
 * Runs every way once, then every way again, so that what the machine does besides falls on all of them alike.
 * @param ways what a round does, in this order
 */
export async function interleave<Round extends Record<string, { readonly eventsPerSecond: number }>>(
  name: string,
  ways: { readonly [Way in keyof Round]: () => Promise<Round[Way]> },
  { rounds, say }: RoundOptions,
): Promise<Round[]> {
  const done: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    const results: Partial<Round> = {};
    for (const way of Object.keys(ways) as (keyof Round & string)[]) {
      const result = await ways[way]();
      results[way] = result;
      say(`${name}, round ${round} of ${rounds}, ${way}: ${rate(result.eventsPerSecond)} events/s`);
    }
    done.push(results as Round);
  }
  return done;
}

/** The middle of some figures; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The median of one figure over the rounds. */
export function medianOf<Figure extends string>(
  rounds: readonly Readonly<Record<Figure, number>>[],
  figure: Figure,
): number {
  return median(rounds.map((round) => round[figure]));
}

/** Events per second of each way, medians. */
export function medianRates<Way extends string>(
  rounds: readonly Readonly<Record<Way, { readonly eventsPerSecond: number }>>[],
  ways: readonly Way[],
): Record<Way, number> {
  const rates = ways.map((way) => [
    way,
    medianOf(
      rounds.map((round) => round[way]),
      "eventsPerSecond",
    ),
  ]);
  return Object.fromEntries(rates) as Record<Way, number>;
}

/** What the drains of a consumer cost, medians. */
export function medianCosts(rounds: readonly ConsumerRound[]): Omit<ConsumerRound, "eventsPerSecond"> {
  return {
    clientCpuMicrosPerEvent: medianOf(rounds, "clientCpuMicrosPerEvent"),
    postgresCpuMicrosPerEvent: medianOf(rounds, "postgresCpuMicrosPerEvent"),
    brokerCpuMicrosPerEvent: medianOf(rounds, "brokerCpuMicrosPerEvent"),
    rssMiB: medianOf(rounds, "rssMiB"),
  };
}
