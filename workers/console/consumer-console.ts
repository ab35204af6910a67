// Builds the consumer's console from its workers, its metrics and the tables.

import { type Console, makeConsole } from "../../shared/console/routes.tsx";
import { PrometheusWatch } from "../../shared/console/prometheus.ts";
import { type Alerts, CONSUMER_SECTIONS, type Status, type Workers } from "../../shared/api-schema.ts";
import type { Config } from "../../shared/config/config.ts";
import { PROGRAM_VERSION } from "../../shared/runtime/version.ts";
import type { Alert } from "../../shared/alerts/alerts.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { type ConsumerProblem, describeFlow, type WorkerSnapshot } from "../consumer/health.ts";
import type { Supervisor } from "../consumer/supervisor.ts";
import { FlowHistory } from "./flow-history.ts";
import { TableReader } from "./table-reader.ts";
import { alertsShown, statusOf } from "./status.ts";

const SAMPLE_MS = 1000;

export interface ConsumerConsoleOptions {
  readonly config: Config;
  readonly metrics: MetricsRegistry;
  /** Undefined until there is one. */
  readonly supervisor: () => Supervisor | undefined;
  readonly problems: () => readonly ConsumerProblem[];
  readonly alerts: () => readonly Alert[];
}

export interface ConsumerConsole extends Pick<Console, "mount"> {
  close(): Promise<void>;
}

export function makeConsumerConsole(options: ConsumerConsoleOptions): ConsumerConsole {
  const { config, metrics, supervisor, problems } = options;
  const startedAtMs = Date.now();
  const flow = new FlowHistory(metrics, () => lagOf(supervisor()));
  const sampling = setInterval(() => flow.sample(Date.now(), performance.now()), SAMPLE_MS);
  const prometheus = new PrometheusWatch(config.monitoring.prometheusUrl);
  const tables = new TableReader({
    database: config.database,
    consumerGroup: config.kafka.consumerGroup,
    metrics,
  });
  const workers = (): Workers | undefined => supervisor()?.workers().map(toWorker);
  const alerts = (): Alerts => alertsShown(options.alerts(), prometheus);
  const status = (): Status => ({
    program: "consumer",
    version: PROGRAM_VERSION,
    startedAtMs,
    ...statusOf({
      problems: problems(),
      alerts: alerts(),
      whenWell: describeFlow(supervisor()?.workers() ?? []),
    }),
    facts: [
      { name: config.kafka.topics.length === 1 ? "topic" : "topics", value: config.kafka.topics.join(", ") },
      { name: "group", value: config.kafka.consumerGroup },
      {
        name: "database",
        value: `${config.database.name} on ${config.database.host}:${config.database.port}`,
      },
    ],
  });
  const refresh = (): Promise<void> => tables.refresh();
  const webConsole = makeConsole({
    program: "consumer",
    schemas: CONSUMER_SECTIONS,
    sections: {
      status: { read: status },
      flow: { read: () => flow.now() },
      history: { read: () => flow.points(), isOnce: true },
      workers: { read: () => workers() ?? [] },
      ledger: { read: () => tables.ledger(), refresh },
      hours: { read: () => tables.hours(), refresh },
      "dead-letters": { read: () => tables.deadLetters(), refresh },
      alerts: { read: alerts, refresh: () => prometheus.refresh() },
    },
    deadLetter: (key) => tables.deadLetter(key),
  });
  return {
    mount: webConsole.mount,
    async close() {
      clearInterval(sampling);
      webConsole.close();
      await tables.close();
    },
  };
}

function lagOf(supervisor: Supervisor | undefined): number | undefined {
  const known = supervisor?.partitions().flatMap(({ lag }) => lag ?? []);
  return known === undefined || known.length === 0 ? undefined : known.reduce((sum, lag) => sum + lag, 0);
}

function toWorker({ worker, status, isSilent }: WorkerSnapshot): Workers[number] {
  return {
    worker,
    state: isSilent ? "silent" : stateOf(status),
    pausedBecause: status?.pausedBecause ?? null,
    hasDatabase: status?.hasDatabase ?? false,
    partitions: (status?.partitions ?? [])
      .map(({ topic, partition, state, storedOffset, endOffset, lag, unreadableBecause }) => ({
        topic,
        partition,
        state: unreadableBecause === undefined ? state : "unreadable",
        storedOffset: storedOffset ?? null,
        endOffset: endOffset ?? null,
        lag: lag ?? null,
      }))
      .toSorted((a, b) => a.topic.localeCompare(b.topic) || a.partition - b.partition),
  };
}

function stateOf(status: WorkerSnapshot["status"]): Workers[number]["state"] {
  if (status === undefined) return "starting";
  if (status.pausedBecause !== undefined) return "paused";
  return status.hasJoined ? "reading" : "joining";
}
