// Reports what happens to the producer: each method moves the metrics and writes the log line together.

import type { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import type { Logger } from "../../shared/telemetry/log.ts";
import type { Recorder } from "../../shared/telemetry/recorder.ts";

export class ProducerTelemetry {
  readonly #topic: string;
  readonly #ledger: DeliveryLedger;
  readonly #metrics: Recorder;
  readonly #log: Logger;

  constructor(topic: string, ledger: DeliveryLedger, metrics: Recorder, log: Logger) {
    this.#topic = topic;
    this.#ledger = ledger;
    this.#metrics = metrics;
    this.#log = log;
  }

  /** Moves the metrics by what was delivered, or was not, since the last call. */
  recordDeliveries(): void {
    const { acknowledged, sizes, failed } = this.#ledger.take();
    for (const [eventType, count] of acknowledged)
      this.#metrics.add("events_produced_total", count, eventType);
    for (const [bytes, count] of sizes) {
      this.#metrics.observe("event_size_bytes", bytes, count);
      this.#metrics.add("bytes_total", bytes * count, "out", "producer", this.#topic);
    }
    this.#metrics.add("kafka_produce_errors_total", failed);
  }

  progress(): void {
    this.#log.info(this.#summary(), "progress");
  }

  /** @param blankLines lines of PRODUCER_INPUT that were skipped; undefined without an input */
  finished(blankLines: number | undefined): void {
    this.#log.info({ ...this.#summary(), ...(blankLines !== undefined && { blankLines }) }, "finished");
  }

  inputNotFinished(): void {
    this.#log.error("stopped before the end of PRODUCER_INPUT");
  }

  /** @param lines how many lines of PRODUCER_INPUT were published nevertheless */
  inputWithoutEvents(lines: number): void {
    const what = lines === 0 ? "PRODUCER_INPUT has no lines" : "no line of PRODUCER_INPUT is an event";
    this.#log.error({ lines }, `${what}: an event is a JSON object with user_id and event_type`);
  }

  notDelivered(): void {
    const { failed, outstanding } = this.#ledger;
    this.#log.error({ failed, outstanding }, "not everything was delivered");
  }

  #summary(): Record<string, number> {
    const { sent, acknowledged, failed, outstanding } = this.#ledger;
    return { sent, acknowledged, failed, outstanding };
  }
}
