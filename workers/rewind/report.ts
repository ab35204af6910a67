// Describes a rewind as text.

import { count, duration, plural, rate } from "../../shared/text/format.ts";
import type { ReadAgain } from "./follow.ts";

export interface RewindReport {
  readonly dry_run: boolean;
  readonly topic: string;
  /** `from`: up to where it was stored; `to`: from where it is read again. */
  readonly partitions: readonly {
    readonly partition: number;
    readonly from: number;
    readonly to: number;
    readonly reading: number;
  }[];
  /** The worker sessions that were ended, so that they take up the new readings. */
  readonly workers: number;
  /** Null where it was not waited for. */
  readonly read_again: ReadAgain | null;
  readonly seconds: number | null;
}

export function formatReport(report: RewindReport): string {
  const { topic, partitions, dry_run: isDryRun, workers, read_again: again } = report;
  const verb = isDryRun ? "would be read again" : "is read again";
  return [
    ...partitions.map(
      ({ partition, from, to, reading }) =>
        `  ${topic}[${partition}] was stored up to ${from}; ${verb} from ${to} (${plural(from - to, "offset")}), in reading ${reading}`,
    ),
    again === null ? outlook(isDryRun, workers) : progressLine(report),
    "",
  ].join("\n");
}

function outlook(isDryRun: boolean, workers: number): string {
  if (isDryRun) return "dry run: nothing was changed";
  return workers === 0
    ? "ok: no consumer is connected; the records are read again when one starts"
    : "ok: the consumers go on reading them again";
}

/** How much is read again, and what became of it. */
export function progressLine({ partitions, read_again: again, seconds }: RewindReport): string {
  if (again === null || seconds === null) return "";
  const total = partitions.reduce((sum, { from, to }) => sum + from - to, 0);
  const records = again.stored + again.duplicates + again.dead_lettered;
  const end = again.is_whole ? "ok: " : "";
  return `${end}${count(again.offsets)} of ${count(total)} offsets read again in ${duration(seconds)}, ${rate(records / seconds)} records/s: ${count(again.stored)} stored, ${count(again.duplicates)} duplicates, ${count(again.dead_lettered)} dead letters`;
}
