// Declares what a session sends to its backend, and what comes back.

import type { KnownStatement } from "./known-statements.ts";
import type { Answer, Parameters } from "./statement.ts";

export type Request =
  | { readonly kind: "begin" | "commit" | "rollback" }
  | { readonly kind: "savepoint" | "rollback to"; readonly name: string }
  | { readonly kind: "statement"; readonly known: KnownStatement; readonly parameters: Parameters }
  /** Begins a COPY; the backend then waits for its data. */
  | { readonly kind: "copy"; readonly known: KnownStatement }
  | { readonly kind: "copy data"; readonly bytes: Uint8Array };

export type Reply =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "error"; readonly error: Error };

/** A few words for a trace. */
export function describeRequest(request: Request): string {
  return "known" in request ? request.known.statement.name : request.kind;
}
