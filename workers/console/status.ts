// What workers and alerts say in; whether the consumer is well, in words, out.

import type { PrometheusWatch } from "../../shared/console/prometheus.ts";
import type { Alerts, Status, Workers } from "../../shared/api-schema.ts";
import type { Alert } from "../../shared/alerts/alerts.ts";
import { plural } from "../../shared/text/format.ts";

export interface Findings {
  /** Undefined: they have not been started yet. */
  readonly workers: Workers | undefined;
  /** What is wrong with the database, as the workers meet it. */
  readonly databaseFault: string | undefined;
  readonly alerts: Alerts;
  readonly isStopping: boolean;
}

export type Verdict = Pick<Status, "state" | "headline" | "reasons">;

/** The worst of what there is. Nothing in it changes while nothing happens: it is read out to those who cannot see. */
export function statusOf({ workers, databaseFault, alerts, isStopping }: Findings): Verdict {
  if (isStopping) return verdict("stopping", "Stopping", ["what was read is being committed"]);
  if (workers === undefined) return verdict("starting", "Starting", ["waiting for PostgreSQL or Kafka"]);
  const on = alertsOn(alerts);
  // The database is told of once, by those who miss it.
  const others = on.filter(({ name }) => databaseFault === undefined || name !== "db_connection_failure");
  const problems = problemsOf(workers, databaseFault);
  const reasons = [...new Set([...problems, ...others.map(({ sentence }) => sentence)])];
  const isStarting = workers.every(({ state }) => state === "starting" || state === "joining");
  if (isStarting && on.length === 0) return verdict("starting", "Starting", reasons);
  const isStopped = databaseFault !== undefined || workers.some(({ state }) => state === "paused");
  if (isStopped || on.some(({ severity }) => severity === "critical")) {
    return verdict("trouble", "Something is wrong", reasons);
  }
  if (reasons.length > 0) return verdict("attention", "Needs a look", reasons);
  return verdict("well", "All is well", [whatFlows(workers)]);
}

function verdict(state: Verdict["state"], headline: string, reasons: string[]): Verdict {
  return { state, headline, reasons };
}

/** What many workers say at once is said once. */
function problemsOf(workers: Workers, databaseFault: string | undefined): string[] {
  const paused = Map.groupBy(
    workers.filter(({ pausedBecause }) => pausedBecause !== null),
    ({ pausedBecause }) => pausedBecause,
  );
  const starting = workers.filter(({ state }) => state === "starting" || state === "joining");
  // Of a worker that is paused this is no news.
  const idle = workers
    .filter(({ state }) => state === "reading")
    .flatMap(({ partitions }) => partitions.filter(({ state }) => state !== "fetching"));
  const byState = Map.groupBy(idle, ({ state }) => state);
  return [
    ...[...paused].map(([because, those]) => `${some(those, workers)} paused: ${because}`),
    ...(paused.size === 0 && databaseFault !== undefined ? [databaseFault] : []),
    ...(starting.length === 0 ? [] : [`${some(starting, workers)} not in the consumer group yet`]),
    ...[...byState].map(([state, those]) => {
      const names = those.map(({ topic, partition }) => `${topic}[${partition}]`).join(", ");
      return `not read: ${names} (${state.replaceAll("_", " ")})`;
    }),
  ];
}

function some(those: Workers, all: Workers): string {
  const verb = those.length === 1 ? "is" : "are";
  return those.length === all.length
    ? `${all.length === 1 ? "the worker" : "all workers"} ${verb}`
    : `${those.length} of ${plural(all.length, "worker")} ${verb}`;
}

/** The alerts of the process and of Prometheus, as the console shows them. */
export function alertsShown(own: readonly Alert[], prometheus: PrometheusWatch): Alerts {
  return {
    own: own.map((alert) => ({ ...alert, endedAtMs: alert.endedAtMs ?? null })),
    prometheus: prometheus.read(),
  };
}

/** Those that are on, as sentences. */
export function alertsOn({
  own,
  prometheus,
}: Alerts): { name: string; severity: string; sentence: string }[] {
  return [
    ...own
      .filter(({ endedAtMs }) => endedAtMs === null)
      .map(({ type, severity, summary }) => ({ name: type, severity, sentence: `alert: ${summary}` })),
    ...prometheus.alerts
      .filter(({ state }) => state === "firing")
      .map(({ severity, name, summary }) => ({ name, severity, sentence: `Prometheus: ${summary || name}` })),
  ];
}

function whatFlows(workers: Workers): string {
  const partitions = workers.reduce((sum, worker) => sum + worker.partitions.length, 0);
  const threads = plural(workers.length, "worker");
  if (partitions === 0) return `${threads} ready; the other consumers of the group have all partitions`;
  return `${threads} ${workers.length === 1 ? "reads" : "read"} ${plural(partitions, "partition")}, and PostgreSQL takes what they read`;
}
