// Anything thrown while a worker works in; why it has to resync, and whether that can help, out.

import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { OffsetRegression } from "../../shared/pipeline/batch.ts";
import { ConfigurationError, errorMessage, FatalError } from "../../shared/runtime/errors.ts";
import { FenceFailed } from "../../shared/store/offsets.ts";
import { adviceFor, classify, describeFault } from "../../shared/store/sqlstate.ts";
import type { ResyncCause } from "../../shared/telemetry/worker-telemetry.ts";
import { ResyncNeeded } from "./resync.ts";

export interface Failure {
  readonly cause: ResyncCause;
  /** One sentence for a person. */
  readonly message: string;
  /** No retry mends it. */
  readonly isFatal: boolean;
}

/** Total: whatever is thrown gets a cause, or ends the worker. */
export function classifyFailure(error: unknown): Failure {
  if (error instanceof ResyncNeeded) {
    return { cause: error.resyncCause, message: error.message, isFatal: false };
  }
  if (error instanceof FenceFailed) return { cause: "fence", message: error.message, isFatal: false };
  if (error instanceof OffsetRegression) return { cause: "delivery", message: error.message, isFatal: false };
  if (error instanceof KafkaError) return { cause: "kafka", message: error.message, isFatal: false };
  if (error instanceof FatalError || error instanceof ConfigurationError) {
    return { cause: "delivery", message: error.message, isFatal: true };
  }
  const found = classify(error);
  // Records refused for their content have become dead letters by now: what is still refused is no record's fault.
  const kind = found === "content" ? "schema" : found;
  if (kind === "bug") return { cause: "delivery", message: errorMessage(error), isFatal: true };
  return { cause: kind, message: `${describeFault(error)}: ${adviceFor(kind)}`, isFatal: false };
}
