// Builds the producer's console from its ledger and its metrics.

import { type Console, makeConsole } from "../../shared/console/routes.tsx";
import { PrometheusWatch } from "../../shared/console/prometheus.ts";
import {
  type Alerts,
  PRODUCER_SECTIONS,
  type Production,
  type ProductionPoint,
  type Status,
} from "../../shared/api-schema.ts";
import type { Config } from "../../shared/config/config.ts";
import { plural } from "../../shared/text/format.ts";
import { PROGRAM_VERSION } from "../../shared/runtime/version.ts";
import type { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import type { Alert } from "../../shared/alerts/alerts.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { SlidingWindow } from "../../shared/telemetry/sliding-window.ts";
import type { ProducerProblem } from "../producer/health.ts";
import { alertsShown, statusOf } from "./status.ts";

const SAMPLE_MS = 1000;
const HISTORY_MS = 300_000;
const MAX_TYPES = 20;

export interface ProducerConsoleOptions {
  readonly config: Config;
  readonly topic: string;
  readonly metrics: MetricsRegistry;
  readonly ledger: DeliveryLedger;
  readonly problems: () => readonly ProducerProblem[];
  readonly alerts: () => readonly Alert[];
}

export function makeProducerConsole(options: ProducerConsoleOptions): Console {
  const { config, topic, metrics, ledger, problems } = options;
  const startedAtMs = Date.now();
  const prometheus = new PrometheusWatch(config.monitoring.prometheusUrl);
  const alerts = (): Alerts => alertsShown(options.alerts(), prometheus);
  const points = new SlidingWindow<ProductionPoint>(HISTORY_MS);
  let before = { atMs: performance.now(), acknowledged: 0, failed: 0, bytes: 0 };
  const sample = (): void => {
    const now = { atMs: performance.now(), bytes: metrics.total("bytes_total"), ...totalsOf(ledger) };
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    points.push(now.atMs, {
      atMs: Date.now(),
      producedPerSecond: (now.acknowledged - before.acknowledged) / seconds,
      failedPerSecond: (now.failed - before.failed) / seconds,
      bytesPerSecond: (now.bytes - before.bytes) / seconds,
      outstanding: ledger.outstanding,
    });
    before = now;
  };
  sample();
  const sampling = setInterval(sample, SAMPLE_MS);
  const production = (): Production => ({
    now: points.newest,
    totals: { ...totalsOf(ledger), bytes: metrics.total("bytes_total") },
    types: metrics
      .values("events_produced_total")
      .map(({ labels: [eventType = ""], value }) => ({ eventType, events: value }))
      .filter(({ events }) => events > 0)
      .toSorted((a, b) => b.events - a.events || a.eventType.localeCompare(b.eventType))
      .slice(0, MAX_TYPES),
    lastFailure: ledger.lastFailure?.message ?? null,
  });
  const status = (): Status => ({
    program: "producer",
    version: PROGRAM_VERSION,
    startedAtMs,
    ...statusOf({
      problems: problems(),
      alerts: alerts(),
      whenWell: `Kafka acknowledges the records sent to ${topic}`,
    }),
    facts: [
      { name: "topic", value: topic },
      { name: "source", value: sourceOf(config) },
    ],
  });
  const webConsole = makeConsole({
    program: "producer",
    schemas: PRODUCER_SECTIONS,
    sections: {
      status: { read: status },
      production: { read: production },
      alerts: { read: alerts, refresh: () => prometheus.refresh() },
      history: { read: () => points.samples(), isOnce: true },
    },
  });
  return {
    mount: webConsole.mount,
    close() {
      clearInterval(sampling);
      webConsole.close();
    },
  };
}

function totalsOf({ acknowledged, failed }: DeliveryLedger): { acknowledged: number; failed: number } {
  return { acknowledged, failed };
}

function sourceOf({ producer: { input, ratePerSecond, userCount } }: Config): string {
  const pace =
    ratePerSecond === undefined
      ? ""
      : Number.isFinite(ratePerSecond)
        ? `, ${ratePerSecond}/s`
        : ", unlimited";
  if (input !== undefined) return `${input === "-" ? "standard input" : input}${pace}`;
  return `simulator, ${plural(userCount, "user")}${pace}`;
}
