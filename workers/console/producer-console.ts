// Builds the producer's console from its deliveries and its metrics.

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
import { alertsOn, alertsShown, type Verdict } from "./status.ts";

const SAMPLE_MS = 1000;
const HISTORY_MS = 300_000;
/** Trouble with deliveries counts as such this long after the last of it. */
const TROUBLE_MS = 30_000;
const UNANSWERED_MS = 5000;
const MOST_TYPES = 20;

export interface ProducerConsoleOptions {
  readonly config: Config;
  readonly topic: string;
  readonly metrics: MetricsRegistry;
  readonly deliveries: DeliveryLedger;
  /** What it waits for; undefined: it produces. */
  readonly waitingFor: () => string | undefined;
  readonly isStopping: () => boolean;
  readonly alerts: () => readonly Alert[];
}

export function makeProducerConsole(options: ProducerConsoleOptions): Console {
  const { config, topic, metrics, deliveries, waitingFor, isStopping } = options;
  const startedAtMs = Date.now();
  const prometheus = new PrometheusWatch(config.monitoring.prometheusUrl);
  const alerts = (): Alerts => alertsShown(options.alerts(), prometheus);
  const points = new SlidingWindow<ProductionPoint>(HISTORY_MS);
  let failedAtMs = Number.NEGATIVE_INFINITY;
  /** Since when records wait for an acknowledgement and none comes. */
  let unansweredSinceMs: number | undefined;
  let before = { atMs: performance.now(), acknowledged: 0, failed: 0, bytes: 0 };
  const sample = (): void => {
    const now = { atMs: performance.now(), bytes: metrics.total("bytes_total"), ...totalsOf(deliveries) };
    const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
    if (now.failed > before.failed) failedAtMs = now.atMs;
    const isAnswered = deliveries.outstanding === 0 || now.acknowledged > before.acknowledged;
    unansweredSinceMs = isAnswered ? undefined : (unansweredSinceMs ?? now.atMs);
    points.push(now.atMs, {
      atMs: Date.now(),
      producedPerSecond: (now.acknowledged - before.acknowledged) / seconds,
      failedPerSecond: (now.failed - before.failed) / seconds,
      bytesPerSecond: (now.bytes - before.bytes) / seconds,
      outstanding: deliveries.outstanding,
    });
    before = now;
  };
  sample();
  const sampling = setInterval(sample, SAMPLE_MS);
  const verdict = (): Verdict => {
    const waiting = waitingFor();
    if (isStopping())
      return { state: "stopping", headline: "Stopping", reasons: ["waiting for the last acknowledgements"] };
    if (waiting !== undefined)
      return { state: "starting", headline: "Starting", reasons: [`waiting for ${waiting}`] };
    if (performance.now() - failedAtMs < TROUBLE_MS) {
      return {
        state: "trouble",
        headline: "Records are not delivered",
        reasons: [deliveries.lastFailure?.message ?? ""],
      };
    }
    const on = alertsOn(alerts());
    if (on.length > 0) {
      const isCritical = on.some(({ severity }) => severity === "critical");
      const reasons = on.map(({ sentence }) => sentence);
      return isCritical
        ? { state: "trouble", headline: "Something is wrong", reasons }
        : { state: "attention", headline: "Needs a look", reasons };
    }
    if (unansweredSinceMs !== undefined && performance.now() - unansweredSinceMs > UNANSWERED_MS) {
      const reasons = ["what was sent is not acknowledged: the brokers may be away"];
      return { state: "attention", headline: "Kafka does not answer", reasons };
    }
    return {
      state: "well",
      headline: "All is well",
      reasons: [`Kafka acknowledges what is sent to ${topic}`],
    };
  };
  const production = (): Production => ({
    now: points.newest,
    totals: { ...totalsOf(deliveries), bytes: metrics.total("bytes_total") },
    types: metrics
      .values("events_produced_total")
      .map(({ labels: [eventType = ""], value }) => ({ eventType, events: value }))
      .filter(({ events }) => events > 0)
      .toSorted((a, b) => b.events - a.events || a.eventType.localeCompare(b.eventType))
      .slice(0, MOST_TYPES),
    lastFailure: deliveries.lastFailure?.message ?? null,
  });
  const status = (): Status => ({
    program: "producer",
    version: PROGRAM_VERSION,
    startedAtMs,
    ...verdict(),
    facts: [
      { name: "topic", value: topic },
      { name: "source", value: sourceOf(config) },
    ],
  });
  const webConsole = makeConsole({
    program: "producer",
    access: config.monitoring.consoleAccess,
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
