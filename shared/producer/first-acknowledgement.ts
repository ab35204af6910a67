// A ledger in; whether the topic takes records at all, judged once, at the start.
import type { DeliveryLedger } from "./delivery-ledger.ts";

/** After this long without any acknowledgement the topic cannot be written. */
const PATIENCE_MS = 20_000;

/**
 * Kafka clients retry for ever what may pass, such as too few replicas in sync. At the start of a program
 * that is more likely a mistake, which someone wants to hear of; later it is an outage, to be waited out.
 */
export class FirstAcknowledgement {
  readonly #deliveries: DeliveryLedger;
  readonly #patienceMs: number;
  #firstSentMs: number | undefined;

  constructor(deliveries: DeliveryLedger, patienceMs = PATIENCE_MS) {
    this.#deliveries = deliveries;
    this.#patienceMs = patienceMs;
  }

  /** @param nowMs monotonic; `come` and `overdue` are final */
  state(nowMs: number): "waiting" | "come" | "overdue" {
    const { acknowledged, sent, outstanding, failedAfterSending } = this.#deliveries;
    if (acknowledged > 0) return "come";
    if (sent > 0) this.#firstSentMs ??= nowMs;
    if (this.#firstSentMs === undefined || nowMs - this.#firstSentMs < this.#patienceMs) return "waiting";
    return outstanding > 0 || failedAfterSending > 0 ? "overdue" : "waiting";
  }
}
