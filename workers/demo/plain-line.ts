// Formats a snapshot as one line of text, for output that is not a terminal.
import { clock, count, duration, rate } from "../../shared/text/format.ts";
import type { Snapshot } from "./run.ts";

/** The main figures, always in the same order. */
export function plainLine(snapshot: Snapshot): string {
  const { elapsedMs, produced, consumed, lag, age, totals, phase, isHeldBack } = snapshot;
  const parts = [
    `${clock(elapsedMs)}  produced ${count(produced.total)} (${rate(produced.rate)}/s)`,
    `consumed ${count(consumed.total)} (${rate(consumed.rate)}/s)`,
    `lag ${count(lag.reduce((sum, partition) => sum + partition.lag, 0))}`,
  ];
  if (age !== null) parts.push(`latency p50 ${duration(age.p50)} p99 ${duration(age.p99)}`);
  parts.push(`duplicates ${count(totals?.duplicates)}`, `dead letters ${count(totals?.deadLetters)}`);
  if (phase === "done") parts.push("done");
  else if (phase !== "producing") parts.push("finishing");
  else if (isHeldBack) parts.push("the producer waits for the consumer");
  return parts.join(", ");
}
