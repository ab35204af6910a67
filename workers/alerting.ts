// Evaluates the alert conditions of a program once a second and reports its alerts.

import { hostname } from "node:os";
import type { MonitoringConfig } from "../shared/config/config.ts";
import { ConsumerConditions, faultState } from "../shared/alerts/alert-conditions.ts";
import { type Alert, Alerts, type AlertType, type ConditionState } from "../shared/alerts/alerts.ts";
import type { Logger } from "../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../shared/telemetry/registry.ts";
import { AlertWebhook } from "../shared/alerts/webhook.ts";
import type { ConsumerProblem } from "./consumer/health.ts";
import type { ProducerProblem } from "./producer/health.ts";

const POLL_INTERVAL_MS = 1000;

/** Evaluates all conditions of a program. @param nowMs monotonic */
type Probe = (nowMs: number) => readonly ConditionState[];

/** The alerts of one program: evaluates them, logs and counts them, and posts them to the webhook. */
export class Alerting {
  readonly #alerts: Alerts;
  readonly #webhook: AlertWebhook | undefined;
  #timer: Timer | undefined;

  constructor(
    program: "producer" | "consumer",
    monitoring: MonitoringConfig,
    log: Logger,
    metrics: MetricsRegistry,
  ) {
    const { alertWebhookUrl: url, producerPort, consumerPort } = monitoring;
    const port = program === "producer" ? producerPort : consumerPort;
    const source = { job: program, instance: `${hostname()}:${port}` };
    this.#webhook = url === "" ? undefined : new AlertWebhook({ url, log, ...source });
    this.#alerts = new Alerts({ log, metrics, onChange: (alert) => this.#webhook?.post(alert) });
  }

  /** Runs a program. Its failure is an alert. What is still to be posted at the end gets three seconds. */
  async runWithAlerts(program: () => Promise<number>): Promise<number> {
    try {
      const exitCode = await program();
      this.#alerts.stopped();
      return exitCode;
    } catch (error) {
      this.failed(error);
      throw error;
    } finally {
      await this.#close();
    }
  }

  /** Starts evaluating the conditions, once a second. */
  poll(probe: Probe): void {
    this.#timer = setInterval(() => this.#alerts.observe(probe(performance.now())), POLL_INTERVAL_MS);
  }

  /** Reports the error that is about to end the program. */
  failed(error: unknown): void {
    this.#alerts.failed(error);
  }

  /** Reports the uncaught error that is about to end the process, and posts its alert. */
  async crashed(error: unknown): Promise<void> {
    this.failed(error);
    await this.#close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#webhook?.close();
  }

  /** For the console; see `Alerts.recent`. */
  recent(): readonly Alert[] {
    return this.#alerts.recent();
  }
}

/** The problem kinds behind the alerts of the consumer. */
const PROBLEM_ALERTS: Readonly<Record<ConsumerProblem["kind"], AlertType | undefined>> = {
  no_database: "db_connection_failure",
  thread_silent: "pipeline_failure",
  starting: "pipeline_failure",
  not_joined: "pipeline_failure",
  kafka_unreachable: "pipeline_failure",
  partition_not_read: "pipeline_failure",
  partition_unreadable: "pipeline_failure",
  partition_over_limit: "pipeline_failure",
  no_progress: "pipeline_failure",
  // A pause that keeps records waiting becomes `no_progress` after a minute; without records it harms nothing.
  paused: undefined,
  stopping: undefined,
};

/** What the alert conditions of the consumer are read from. */
export interface ConsumerSources {
  readonly monitoring: MonitoringConfig;
  readonly metrics: MetricsRegistry;
  /** @param nowMs monotonic */
  readonly problems: (nowMs: number) => readonly ConsumerProblem[];
}

/** The alert conditions of the consumer. */
export function consumerProbe({ monitoring, metrics, problems }: ConsumerSources): Probe {
  const conditions = new ConsumerConditions(monitoring);
  return (nowMs) => {
    const critical = problems(nowMs).filter(({ severity }) => severity === "critical");
    const faultOf = (type: AlertType): string | undefined => {
      const messages = critical
        .filter(({ kind }) => PROBLEM_ALERTS[kind] === type)
        .map(({ message }) => message);
      return messages.length === 0 ? undefined : messages.join("; ");
    };
    const figures = {
      consumed: metrics.total("events_consumed_total"),
      failed: metrics.total("dead_letter_events_total"),
      processing: metrics.histogram("event_processing_duration_seconds"),
      lag: metrics.total("kafka_consumer_lag"),
      databaseFault: faultOf("db_connection_failure"),
      pipelineFault: faultOf("pipeline_failure"),
    };
    return conditions.evaluate(figures, nowMs);
  };
}

/** The alert conditions of the producer: of the five alerts only `pipeline_failure` applies to it. */
export function producerProbe(problems: (nowMs: number) => readonly ProducerProblem[]): Probe {
  return (nowMs) => {
    const fault = problems(nowMs).find(
      ({ kind, severity }) => kind === "unacknowledged" && severity === "critical",
    );
    return [faultState("pipeline_failure", fault?.message)];
  };
}
