// Formats an alert as the JSON of Alertmanager's webhooks (version 4), with Slack's `text`.

import type { Alert } from "./alerts.ts";

/** Alertmanager's value for an active alert. */
const NOT_ENDED = "0001-01-01T00:00:00Z";
const SUMMARY_LIMIT = 1000;

type Labels = Readonly<Record<string, string>>;

/** A group of one alert. */
export interface WebhookMessage {
  /** For Slack and compatible receivers, which ignore the rest; `&`, `<` and `>` are escaped as they require. */
  readonly text: string;
  readonly version: "4";
  readonly groupKey: string;
  readonly truncatedAlerts: 0;
  readonly status: "firing" | "resolved";
  readonly receiver: string;
  readonly groupLabels: Labels;
  readonly commonLabels: Labels;
  readonly commonAnnotations: Labels;
  readonly externalURL: string;
  readonly alerts: readonly {
    readonly status: "firing" | "resolved";
    readonly labels: Labels;
    readonly annotations: Labels;
    readonly startsAt: string;
    readonly endsAt: string;
    readonly generatorURL: string;
    readonly fingerprint: string;
  }[];
}

/**
 * @param source the origin of the alert, labeled as Prometheus would
 */
export function webhookMessage(
  { type, severity, summary, startedAtMs, endedAtMs }: Alert,
  { job, instance }: { readonly job: string; readonly instance: string },
): WebhookMessage {
  const status = endedAtMs === undefined ? "firing" : "resolved";
  const labels = { alertname: type, instance, job, severity };
  const annotations = { summary: summary.slice(0, SUMMARY_LIMIT) };
  const after = endedAtMs === undefined ? "" : `, after ${Math.round((endedAtMs - startedAtMs) / 1000)} s`;
  return {
    text: escape(
      `[${status.toUpperCase()}${after}] ${type} (${severity}), ${job} on ${instance}: ${annotations.summary}`,
    ),
    version: "4",
    groupKey: `{}:{alertname="${type}", instance="${instance}", job="${job}"}`,
    truncatedAlerts: 0,
    status,
    receiver: "event-pipeline",
    groupLabels: { alertname: type, instance, job },
    commonLabels: labels,
    commonAnnotations: annotations,
    externalURL: "",
    alerts: [
      {
        status,
        labels,
        annotations,
        startsAt: new Date(startedAtMs).toISOString(),
        endsAt: endedAtMs === undefined ? NOT_ENDED : new Date(endedAtMs).toISOString(),
        generatorURL: "",
        // The same at the start and at the end of an alert, and each time that it comes back.
        fingerprint: Bun.hash(JSON.stringify(labels)).toString(16).padStart(16, "0"),
      },
    ],
  };
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
