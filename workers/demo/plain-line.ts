// A snapshot in; one line of text out, for where there is no terminal.
import { clock, count, duration, rate } from "../../shared/text/format.ts";
import type { Snapshot } from "./snapshot.ts";

/** Says what matters, in the same order each time. */
export function plainLine(snapshot: Snapshot): string {
  const { elapsedMs, produced, consumed, partitions, latency, outcome, phase, isHeldBack } = snapshot;
  const lag = partitions.reduce((sum, partition) => sum + partition.lag, 0);
  const parts = [
    `${clock(elapsedMs)}  produced ${count(produced.total)} (${rate(produced.perSecond)}/s)`,
    `consumed ${count(consumed.total)} (${rate(consumed.perSecond)}/s)`,
    `lag ${count(lag)}`,
  ];
  if (latency !== undefined) parts.push(`latency p50 ${duration(latency.p50)} p99 ${duration(latency.p99)}`);
  parts.push(`duplicates ${count(outcome.duplicates)}`, `dead letters ${count(outcome.deadLettered)}`);
  if (phase === "done") parts.push("done");
  else if (phase !== "producing") parts.push("finishing");
  else if (isHeldBack) parts.push("the producer waits for the consumer");
  return parts.join(", ");
}
