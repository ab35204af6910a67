// A program's figures in, once a second; its alerts in the log, the metrics, the console and the webhook out.

import { hostname } from "node:os";
import type { MonitoringConfig } from "../shared/config/config.ts";
import type { StopSignal } from "../shared/runtime/lifecycle.ts";
import type { DeliveryLedger } from "../shared/producer/delivery-ledger.ts";
import { ConsumerConditions } from "../shared/alerts/alert-conditions.ts";
import { type Alert, Alerts, type Reading } from "../shared/alerts/alerts.ts";
import type { Logger } from "../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../shared/telemetry/registry.ts";
import { AlertWebhook } from "../shared/alerts/webhook.ts";
import { databaseFault, type WatchedWorker, Watchdog } from "./consumer/health.ts";

const POLL_INTERVAL_MS = 1000;

/** What Alerts reads once a second. @param nowMs monotonic */
type Look = (nowMs: number) => readonly Reading[];

/** The alerts of one program at work. */
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
    this.#alerts = new Alerts({ log, metrics, onEdge: (alert) => this.#webhook?.post(alert) });
  }

  /** Runs the program. When it fails, that is an alert; what is to be posted is, within three seconds. */
  async during(stop: StopSignal, program: () => Promise<number>): Promise<number> {
    stop.onCrash = async (error) => {
      this.failed(error);
      await this.#close();
    };
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

  /** Begins to look, once a second. */
  watch(look: Look): void {
    this.#timer = setInterval(() => this.#alerts.observe(look(performance.now())), POLL_INTERVAL_MS);
  }

  /** The program is about to end because of this. */
  failed(error: unknown): void {
    this.#alerts.failed(error);
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#webhook?.close();
  }

  /** For the console; see `Alerts.history`. */
  history(): readonly Alert[] {
    return this.#alerts.history();
  }
}

/** What the conditions of the consumer are read from. */
export interface ConsumerSources {
  readonly monitoring: MonitoringConfig;
  readonly metrics: MetricsRegistry;
  /** None before they are started. */
  readonly workers: () => readonly WatchedWorker[];
  /** What the main thread says of the database. */
  readonly databaseFault: () => string | undefined;
}

/** What the consumer looks at. */
export function consumerProbe(sources: ConsumerSources): Look {
  const { monitoring, metrics } = sources;
  const conditions = new ConsumerConditions(monitoring);
  let watchdog = new Watchdog();
  return (nowMs) => {
    const workers = sources.workers();
    const database = databaseFault(workers) ?? sources.databaseFault();
    // Without a database nothing moves: that is one fault, and not two.
    if (database !== undefined) watchdog = new Watchdog();
    const figures = {
      consumed: metrics.total("events_consumed_total"),
      failed: metrics.total("dead_letter_events_total"),
      processing: metrics.histogram("event_processing_duration_seconds"),
      lag: metrics.total("kafka_consumer_lag"),
      databaseFault: database,
      pipelineFault: database === undefined ? watchdog.look(workers, nowMs) : undefined,
    };
    return conditions.readings(figures, nowMs);
  };
}

/** How long acknowledgements may stay away while records wait for them. */
const UNACKNOWLEDGED_MS = 30_000;

/** What the producer looks at: of the five alerts only `pipeline_failure` has a meaning there. */
export function producerProbe(deliveries: DeliveryLedger): Look {
  let acknowledged = 0;
  let waitingSinceMs: number | undefined;
  return (nowMs) => {
    const isMoving = deliveries.acknowledged > acknowledged;
    acknowledged = deliveries.acknowledged;
    if (isMoving || deliveries.outstanding === 0) waitingSinceMs = undefined;
    else waitingSinceMs ??= nowMs;
    const seconds = Math.floor((nowMs - (waitingSinceMs ?? nowMs)) / 1000);
    const state = seconds * 1000 >= UNACKNOWLEDGED_MS ? "breached" : "clear";
    const summary = `Kafka has acknowledged nothing for ${seconds} s, and ${deliveries.outstanding} records wait`;
    return [{ type: "pipeline_failure", state, summary }];
  };
}
