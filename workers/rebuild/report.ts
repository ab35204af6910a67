// Describes what a rebuild has found and done, as text and as JSON.

import { type DifferingHour, type HourFigures, isMendable } from "../../shared/store/rebuild/compare.ts";
import type { RebuildResult } from "../../shared/store/rebuild/rebuild.ts";
import { withoutRawRow } from "../../shared/store/raw-account.ts";
import { count, duration, plural } from "../../shared/text/format.ts";

export interface RebuildReport {
  /** False where hours could not be mended. */
  readonly ok: boolean;
  readonly dry_run: boolean;
  readonly seconds: number;
  /** Rows of raw_events that were compared. */
  readonly events: number;
  readonly slices: number;
  /** ISO 8601, UTC: earlier hours are past their retention, and were left as they are. */
  readonly sealed_before: string | null;
  /** Stored events without a row in raw_events, but for those that retention has deleted. */
  readonly events_without_raw_row: number;
  /** False: raw rows are gone, and no figure was lowered. */
  readonly may_lower: boolean;
  readonly differing: readonly ReportedHour[];
}

export interface ReportedHour {
  readonly hour: string;
  readonly event_type: string;
  readonly outcome: "mended" | "would be mended" | "kept" | "not mended";
  readonly stored: HourFigures | null;
  readonly recomputed: HourFigures;
  readonly missing_users: number;
  readonly extra_users: number;
}

export function reportOf(
  { account, evidence, unmended, sealedBefore }: RebuildResult,
  differing: readonly DifferingHour[],
  run: Pick<RebuildReport, "dry_run" | "seconds" | "events" | "slices">,
): RebuildReport {
  const left = new Set(unmended.map(nameOf));
  return {
    ok: unmended.length === 0,
    ...run,
    events_without_raw_row: withoutRawRow(account),
    sealed_before: sealedBefore ?? null,
    may_lower: evidence.mayLower,
    differing: differing.map((hour) => ({
      hour: hour.hour,
      event_type: hour.event_type,
      outcome: outcomeOf(hour, left.has(nameOf(hour)), run.dry_run),
      stored: hour.stored,
      recomputed: hour.recomputed,
      missing_users: hour.missing_users,
      extra_users: hour.extra_users,
    })),
  };
}

function outcomeOf(hour: DifferingHour, isLeft: boolean, isDryRun: boolean): ReportedHour["outcome"] {
  if (!isMendable(hour)) return "kept";
  if (isDryRun) return "would be mended";
  return isLeft ? "not mended" : "mended";
}

/** One line for each hour that differed, and the sum of it. */
export function formatReport(report: RebuildReport): string {
  const { differing, dry_run: isDryRun, events, slices, seconds } = report;
  const outcomes = Map.groupBy(differing, ({ outcome }) => outcome);
  const found = [...outcomes].map(([outcome, hours]) => `${count(hours.length)} ${outcome}`).join(", ");
  const result = differing.length === 0 ? "none differs" : `${count(differing.length)} differed: ${found}`;
  return [
    ...differing.map(lineOf),
    ...notesOf(report),
    `${report.ok ? "ok" : "FAILED"}: hours and types compared with ${plural(events, "event")} in ${plural(slices, "slice")}, in ${duration(seconds)}; ${result}${isDryRun ? " (dry run: nothing was changed)" : ""}`,
    "",
  ].join("\n");
}

const FIGURES = [
  ["events", "events"],
  ["users", "users"],
  ["durations", "durations"],
  ["duration_ms", "ms"],
  ["unsaved", "unsaved"],
  ["late", "late"],
] as const;

function lineOf({ stored, recomputed, missing_users, extra_users, outcome, ...hour }: ReportedHour): string {
  const users = [
    ...(missing_users > 0 ? [`${plural(missing_users, "user")} missing`] : []),
    ...(extra_users > 0 ? [`${plural(extra_users, "user")} without an event`] : []),
  ];
  const figures = FIGURES.filter(([figure]) => stored !== null && stored[figure] !== recomputed[figure]).map(
    ([figure, unit]) => `${stored?.[figure]} ${unit} stored, ${recomputed[figure]} recomputed`,
  );
  const row = stored === null ? [`no row, ${recomputed.events} events recomputed`] : figures;
  const otherwise = outcome === "kept" ? "counts more than raw_events has" : "closed before its end";
  return `  ${nameOf(hour)}: ${[...row, ...users].join("; ") || otherwise} (${outcome})`;
}

function notesOf({
  events_without_raw_row: without,
  may_lower: mayLower,
  sealed_before,
}: RebuildReport): string[] {
  const sealed =
    sealed_before === null
      ? []
      : [`note: hours before ${sealed_before} are past their retention, and were left as they are`];
  if (without === 0) return sealed;
  if (!mayLower) {
    return [
      ...sealed,
      `note: ${count(without)} stored events have no raw row any more, and it is not known in which hours: no figure was lowered`,
    ];
  }
  return [
    ...sealed,
    `note: ${count(without)} events were stored without raw rows (SAVE_RAW_EVENTS=false): their hours keep them, and their users and durations were not lowered`,
  ];
}

function nameOf({ hour, event_type }: Pick<DifferingHour, "hour" | "event_type">): string {
  return `${hour} ${event_type}`;
}
