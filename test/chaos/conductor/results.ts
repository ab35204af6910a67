// Sums up the outcomes of a run's faults in one table.
import { type Cell, formatTable } from "../../../shared/text/table.ts";
import type { FaultOutcome } from "./round.ts";

const HEAD = [
  "fault",
  "times",
  "in flight",
  "redelivered",
  "fenced",
  "lost",
  "doubled",
  "seconds to recover",
  "ruled by",
] as const;

/**
 * @param outcomes of all rounds
 * @param lost events that the ledger missed in the tables @param doubled events that it found too much
 * @returns lines: a row for each fault, with the most records in flight, the sums, and the median and the longest recovery
 */
export function formatResults(
  outcomes: readonly FaultOutcome[],
  ledger: { lost: number; doubled: number },
): string[] {
  const byFault = Map.groupBy(outcomes, ({ fault }) => fault);
  const rows = [...byFault]
    .toSorted(([a], [b]) => a.name.localeCompare(b.name))
    .map(([fault, all]): Cell[] => {
      const seconds = all.map(({ recoveryMs }) => recoveryMs / 1000).toSorted((a, b) => a - b);
      return [
        fault.name,
        all.length,
        Math.max(...all.map(({ inFlight }) => inFlight)),
        sum(all, ({ redelivered }) => redelivered),
        sum(all, ({ fenced }) => fenced),
        ledger.lost,
        ledger.doubled,
        `${median(seconds).toFixed(1)}, at most ${seconds.at(-1)!.toFixed(1)}`,
        fault.ruledBy,
      ];
    });
  return formatTable(HEAD, rows);
}

function sum(outcomes: readonly FaultOutcome[], figure: (outcome: FaultOutcome) => number): number {
  return outcomes.reduce((total, outcome) => total + figure(outcome), 0);
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}
