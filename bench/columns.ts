// The columns of the tables of results.
import type { Cell } from "../shared/text/table.ts";
import { medianCosts, medianOf } from "./rounds.ts";
import type { ConsumerRound, CopyRound } from "./shapes.ts";

export const RATES = ["events/s", "min", "max"];
export const COSTS = ["µs CPU/event", "PostgreSQL", "broker", "MiB"];

/** Under RATES. */
export function rates(rounds: readonly { readonly eventsPerSecond: number }[]): number[] {
  const all = rounds.map(({ eventsPerSecond }) => eventsPerSecond);
  return [medianOf(rounds, "eventsPerSecond"), Math.min(...all), Math.max(...all)].map(Math.round);
}

/** Under COSTS. */
export function consumerCosts(rounds: readonly ConsumerRound[]): number[] {
  const costs = medianCosts(rounds);
  return [
    toDigits(costs.clientCpuMicrosPerEvent, 2),
    toDigits(costs.postgresCpuMicrosPerEvent, 2),
    toDigits(costs.brokerCpuMicrosPerEvent, 2),
    Math.round(costs.rssMiB),
  ];
}

/** Under COSTS. */
export function copyCosts(rounds: readonly CopyRound[]): Cell[] {
  return [
    toDigits(medianOf(rounds, "clientCpuMicrosPerEvent"), 2),
    toDigits(medianOf(rounds, "postgresCpuMicrosPerEvent"), 2),
    "",
    "",
  ];
}

export function roundsOf(rounds: readonly unknown[]): string {
  return rounds.length === 1 ? "1 round" : `medians of ${rounds.length} rounds, in turn`;
}

export function toDigits(number: number, digits: number): number {
  return Number(number.toFixed(digits));
}
