// Finds what keeps the producer from delivering its records, for /readyz, the alerts, the page and the start.

import type { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import type { Problem } from "../problem.ts";

export type ProducerProblemKind = "stopping" | "starting" | "not_delivered" | "unacknowledged";

export type ProducerProblem = Problem<ProducerProblemKind>;

/** What the problems are read from. */
export interface ProducerSnapshot {
  /** What the producer waits for before it can send ("topic user-events"); undefined while it produces. */
  readonly waitingFor: string | undefined;
  readonly isStopping: boolean;
}

/** Records that wait this long for an acknowledgement are a warning. */
const UNACKNOWLEDGED_MS = 5000;
/** After this long the warning becomes critical, which raises an alert. */
const CRITICAL_MS = 30_000;
/** A failed delivery is a problem for this long. */
const NOT_DELIVERED_MS = 30_000;
/**
 * Kafka clients retry forever, for example while too few replicas are in sync. At the start that is more likely a
 * mistake which the user wants to see; later it is an outage, which is waited out.
 */
export const FIRST_ACKNOWLEDGEMENT_MS = 20_000;

/** The health of the producer. Any number of callers may ask at any time. */
export class ProducerHealth {
  readonly #ledger: DeliveryLedger;
  readonly #takeSnapshot: () => ProducerSnapshot;
  #failed = 0;
  #failedAtMs = Number.NEGATIVE_INFINITY;

  constructor(ledger: DeliveryLedger, takeSnapshot: () => ProducerSnapshot) {
    this.#ledger = ledger;
    this.#takeSnapshot = takeSnapshot;
  }

  /** What is wrong now, empty when nothing is. @param nowMs monotonic */
  readonly problems = (nowMs: number = performance.now()): ProducerProblem[] => {
    const { failed, outstanding, lastFailure } = this.#ledger;
    const unacknowledgedMs = this.#ledger.measureUnacknowledgedMs(nowMs);
    if (failed > this.#failed) this.#failedAtMs = nowMs;
    this.#failed = failed;
    const { waitingFor, isStopping } = this.#takeSnapshot();
    const problems: ProducerProblem[] = [];
    if (isStopping) {
      problems.push({
        kind: "stopping",
        severity: "warning",
        message: "waiting for the last acknowledgements",
      });
    } else if (waitingFor !== undefined) {
      problems.push({ kind: "starting", severity: "warning", message: `waiting for ${waitingFor}` });
    }
    if (nowMs - this.#failedAtMs < NOT_DELIVERED_MS) {
      const message = `records were not delivered: ${lastFailure?.message ?? "unknown reason"}`;
      problems.push({ kind: "not_delivered", severity: "critical", message });
    }
    if (outstanding > 0 && unacknowledgedMs >= UNACKNOWLEDGED_MS) {
      const severity = unacknowledgedMs >= CRITICAL_MS ? "critical" : "warning";
      problems.push({
        kind: "unacknowledged",
        severity,
        message: "records wait and Kafka acknowledges none",
      });
    }
    return problems;
  };
}

/** True when no record at all was acknowledged within 20 s of the first one: the topic cannot be written. */
export function isFirstAcknowledgementOverdue(ledger: DeliveryLedger, nowMs: number): boolean {
  return ledger.acknowledged === 0 && ledger.measureUnacknowledgedMs(nowMs) >= FIRST_ACKNOWLEDGEMENT_MS;
}
