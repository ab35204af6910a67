// Reads from the command line which dead letters a command is about.

import type { RejectionReason } from "../../shared/event.ts";
import { REJECTION_REASONS } from "../../shared/pipeline/rejection.ts";
import { parseTimestamp } from "../../shared/pipeline/timestamp.ts";
import { LETTER_STATES, type LetterSelection } from "../../shared/store/dead-letters/selection.ts";

export interface SelectionOptions {
  readonly state?: string | undefined;
  readonly reason?: string | undefined;
  readonly topic?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}

const AGO = /^(\d{1,6})([smhd])$/;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * @param nowMs ms since 1970
 * @param problems gets one sentence for each wrong value
 */
export function readSelection(options: SelectionOptions, nowMs: number, problems: string[]): LetterSelection {
  const { state = "open", reason, topic, since, until } = options;
  return {
    states: state === "all" ? LETTER_STATES : namesOf("--state", state, LETTER_STATES, problems),
    reasons:
      reason === undefined
        ? undefined
        : namesOf<RejectionReason>("--reason", reason, REJECTION_REASONS, problems),
    topic,
    sinceMs: since === undefined ? undefined : instantOf("--since", since, nowMs, problems),
    untilMs: until === undefined ? undefined : instantOf("--until", until, nowMs, problems),
  };
}

function namesOf<Name extends string>(
  option: string,
  text: string,
  allowed: readonly Name[],
  problems: string[],
): Name[] {
  const names = text.split(",");
  for (const name of names) {
    if (!allowed.some((known) => known === name))
      problems.push(`${option} ${name}: must be one of ${allowed.join(", ")}`);
  }
  return allowed.filter((known) => names.includes(known));
}

function instantOf(option: string, text: string, nowMs: number, problems: string[]): number | undefined {
  const [, amount, unit] = AGO.exec(text) ?? [];
  if (amount !== undefined) return nowMs - Number(amount) * UNIT_MS[unit!]!;
  const instant = parseTimestamp(text) ?? parseTimestamp(`${text}T00:00:00Z`);
  if (instant === undefined)
    problems.push(
      `${option} ${text}: must be a time such as 2026-03-14T09:00:00Z, a date, or an age such as 90s, 30m, 2h, 7d`,
    );
  return instant?.ms;
}
