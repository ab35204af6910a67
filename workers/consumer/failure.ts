// Classifies anything a worker can throw: the worker either resyncs, for one of several causes, or gives up.

import { KafkaError } from "../../shared/kafka/kafka-error.ts";
import { OffsetRegression } from "../../shared/pipeline/span.ts";
import {
  ConfigurationError,
  errorMessage,
  FatalError,
  InvariantViolated,
} from "../../shared/runtime/errors.ts";
import { FenceFailed } from "../../shared/store/offsets.ts";
import { classify, explainFault } from "../../shared/store/sqlstate.ts";
import type { ResyncCause } from "../../shared/telemetry/worker-telemetry.ts";

/** What a worker does about an error; `message` is one sentence for a person. */
export type Failure =
  | Resync
  /** No retry helps. */
  | { readonly kind: "fatal"; readonly message: string };

export interface Resync {
  readonly kind: "resync";
  readonly cause: ResyncCause;
  readonly message: string;
}

/** Thrown where a worker itself finds that it must read its offsets again. */
export class ResyncNeeded extends Error {
  override readonly name = "ResyncNeeded";
  readonly resyncCause: ResyncCause;

  constructor(cause: ResyncCause, message: string) {
    super(message);
    this.resyncCause = cause;
  }
}

/** Total: every value that can be thrown is either a reason to resync or fatal. */
export function classifyFailure(error: unknown): Failure {
  if (error instanceof ResyncNeeded) return resync(error.resyncCause, error.message);
  if (error instanceof FenceFailed) return resync("fence", error.message);
  if (error instanceof OffsetRegression) return resync("delivery", error.message);
  if (error instanceof InvariantViolated) return resync("invariant", error.message);
  if (error instanceof KafkaError) return resync("kafka", error.message);
  if (error instanceof FatalError || error instanceof ConfigurationError) {
    return { kind: "fatal", message: error.message };
  }
  const found = classify(error);
  // Records that PostgreSQL refuses for their content are dead letters by now, so what it still refuses is the tables' fault.
  const cause = found === "content" ? "schema" : found;
  if (cause === "bug") return { kind: "fatal", message: errorMessage(error) };
  return resync(cause, explainFault(error, cause));
}

function resync(cause: ResyncCause, message: string): Resync {
  return { kind: "resync", cause, message };
}
