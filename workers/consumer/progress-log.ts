// Logs how far the consumer is, once a minute while records are read or wait.

import type { Logger } from "../../shared/telemetry/log.ts";
import type { MetricsRegistry } from "../../shared/telemetry/registry.ts";

const INTERVAL_MS = 60_000;

export class ProgressLog {
  readonly #metrics: MetricsRegistry;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #consumed = 0;

  constructor(metrics: MetricsRegistry, log: Logger) {
    this.#metrics = metrics;
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => this.logProgress(), INTERVAL_MS);
  }

  /** Stops the timer and logs what this process did. */
  finish(): void {
    clearInterval(this.#timer);
    this.#log.info(this.#totals(), "stopped");
  }

  /** Writes a line if records were consumed since the last call, or if records wait. */
  logProgress(): void {
    const totals = this.#totals();
    const lag = this.#metrics.total("kafka_consumer_lag");
    if (totals.consumed === this.#consumed && lag === 0) return;
    this.#consumed = totals.consumed;
    this.#log.info({ ...totals, lag }, "progress");
  }

  #totals(): Record<"consumed" | "stored" | "duplicates" | "deadLetters", number> {
    return {
      consumed: this.#metrics.total("events_consumed_total"),
      stored: this.#metrics.total("events_processed_total"),
      duplicates: this.#metrics.total("duplicate_events_total"),
      deadLetters: this.#metrics.total("dead_letter_events_total"),
    };
  }
}
