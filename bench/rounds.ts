// Runs variants of a measurement in turn, several rounds each, and computes the medians.
import { rate } from "../shared/text/format.ts";
import type { ConsumerRound } from "./shapes.ts";
import { median } from "./statistics.ts";

export interface RoundOptions {
  readonly rounds: number;
  /** Gets a line after each measurement. */
  readonly say: (line: string) => void;
}

/**
 * Runs every variant once, then every variant again, so that other load on the machine affects all variants alike.
 * @param variants the measurements of a round, in this order
 */
export async function interleave<Round extends Record<string, { readonly eventsPerSecond: number }>>(
  name: string,
  variants: { readonly [Variant in keyof Round]: () => Promise<Round[Variant]> },
  { rounds, say }: RoundOptions,
): Promise<Round[]> {
  const done: Round[] = [];
  for (let round = 1; round <= rounds; round++) {
    const results: Partial<Round> = {};
    for (const variant of Object.keys(variants) as (keyof Round & string)[]) {
      const result = await variants[variant]();
      results[variant] = result;
      say(`${name}, round ${round} of ${rounds}, ${variant}: ${rate(result.eventsPerSecond)} events/s`);
    }
    done.push(results as Round);
  }
  return done;
}

/** The median of one figure over the rounds. */
export function medianOf<Figure extends string>(
  rounds: readonly Readonly<Record<Figure, number>>[],
  figure: Figure,
): number {
  return median(rounds.map((round) => round[figure]));
}

/** The median of the events per second of each variant. */
export function medianRates<Variant extends string>(
  rounds: readonly Readonly<Record<Variant, { readonly eventsPerSecond: number }>>[],
  variants: readonly Variant[],
): Record<Variant, number> {
  const rates = variants.map((variant) => [
    variant,
    medianOf(
      rounds.map((round) => round[variant]),
      "eventsPerSecond",
    ),
  ]);
  return Object.fromEntries(rates) as Record<Variant, number>;
}

/** The medians of the costs of a consumer. */
export function medianCosts(rounds: readonly ConsumerRound[]): Omit<ConsumerRound, "eventsPerSecond"> {
  return {
    clientCpuMicrosPerEvent: medianOf(rounds, "clientCpuMicrosPerEvent"),
    postgresCpuMicrosPerEvent: medianOf(rounds, "postgresCpuMicrosPerEvent"),
    brokerCpuMicrosPerEvent: medianOf(rounds, "brokerCpuMicrosPerEvent"),
    rssMiB: medianOf(rounds, "rssMiB"),
  };
}
