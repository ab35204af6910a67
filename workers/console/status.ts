// Sums up problems and alerts as the one state that the page shows.

import type { PrometheusWatch } from "../../shared/console/prometheus.ts";
import type { Alerts, Status as StatusSection } from "../../shared/api-schema.ts";
import type { Alert } from "../../shared/alerts/alerts.ts";
import { time } from "../../shared/text/format.ts";
import type { Problem } from "../problem.ts";

export type Status = Pick<StatusSection, "state" | "headline" | "reasons">;

export interface StatusSources {
  readonly problems: readonly Problem[];
  readonly alerts: Alerts;
  /** What the program does while nothing is wrong, one sentence. */
  readonly whenWell: string;
}

const STARTING_KINDS: ReadonlySet<string> = new Set(["starting", "not_joined"]);

/** The worst of all problems and active alerts. */
export function statusOf({ problems, alerts, whenWell }: StatusSources): Status {
  const stopping = problems.filter(({ kind }) => kind === "stopping");
  if (stopping.length > 0) return status("stopping", "Stopping", stopping.map(messageOf));
  const active = activeAlerts(alerts).filter(
    // The problem behind this alert is shown already, by the workers that it concerns now.
    ({ name }) => name !== "db_connection_failure" || !problems.some(({ kind }) => kind === "no_database"),
  );
  const isCritical = [...problems, ...active].some(({ severity }) => severity === "critical");
  // The worst alone: what it brings about, such as partitions that are not read, would bury it.
  const shown = problems.filter(({ severity }) => !isCritical || severity === "critical");
  const messages = shown.map(messageOf);
  const reasons = [...new Set([...messages, ...active.flatMap((alert) => alertText(alert, messages))])];
  if (isCritical) return status("trouble", "Something is wrong", reasons);
  const isStarting = problems.some(({ kind }) => STARTING_KINDS.has(kind));
  if (isStarting && active.length === 0) return status("starting", "Starting", reasons);
  if (reasons.length > 0) return status("attention", "Needs attention", reasons);
  return status("well", "All is well", [whenWell]);
}

function status(state: Status["state"], headline: string, reasons: string[]): Status {
  return { state, headline, reasons };
}

function messageOf({ message }: { readonly message: string }): string {
  return message;
}

/** The alerts of the process and of Prometheus, as the console shows them. */
export function alertsShown(own: readonly Alert[], prometheus: PrometheusWatch): Alerts {
  return {
    own: own.map((alert) => ({ ...alert, endedAtMs: alert.endedAtMs ?? null })),
    prometheus: prometheus.read(),
  };
}

interface ActiveAlert {
  readonly name: string;
  readonly severity: string;
  readonly summary: string;
  /** What its text begins with. */
  readonly origin: string;
}

/**
 * Nothing for a problem that is shown already. A summary is as of the start of its alert, which ends a while after its
 * problem, so the text says that it is an alert, and since when.
 */
function alertText({ origin, summary }: ActiveAlert, shown: readonly string[]): string[] {
  return shown.includes(summary) ? [] : [`${origin}: ${summary}`];
}

function activeAlerts({ own, prometheus }: Alerts): ActiveAlert[] {
  return [
    ...own
      .filter(({ endedAtMs }) => endedAtMs === null)
      .map(({ type, severity, summary, startedAtMs }) => ({
        name: type,
        severity,
        summary,
        origin: `Alert since ${time(startedAtMs)} UTC`,
      })),
    ...prometheus.alerts
      .filter(({ state }) => state === "firing")
      .map(({ severity, name, summary }) => ({
        name,
        severity,
        summary: summary || name,
        origin: "Prometheus",
      })),
  ];
}
