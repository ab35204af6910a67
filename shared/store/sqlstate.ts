// Anything that a statement can throw in; what to do about it out.

import type { DatabaseConfig } from "../config/config.ts";
import { assertNever, codeOf, errorMessage } from "../runtime/errors.ts";

/**
 * - `connection`: the connection is gone or cannot be had; wait and connect again
 * - `transient`: the transaction lost against another one; do it again
 * - `blocked`: a lock was not given in time; a stuck peer may hold it
 * - `content`: the content of a record is refused
 * - `schema`: the tables are not as the program expects them; every batch will fail until a person mends it
 * - `access`: the server refuses the login, or there is no such database
 * - `bug`: none of the server's answers; the program is wrong
 */
export type FaultKind = "connection" | "transient" | "blocked" | "content" | "schema" | "access" | "bug";

/** SQLSTATEs by code, then by class (the first two characters); from the table in PostgreSQL's appendix A. */
const KIND_BY_SQLSTATE: Readonly<Record<string, FaultKind>> = {
  "40001": "transient", // serialization_failure
  "40P01": "transient", // deadlock_detected: two events of one id, in two partitions, in opposite order
  "40003": "connection", // statement_completion_unknown
  "55P03": "blocked", // lock_not_available
  "57014": "blocked", // query_canceled: statement_timeout
  "25P03": "connection", // idle_in_transaction_session_timeout
  "25P04": "connection", // transaction_timeout
  "54000": "content", // program_limit_exceeded: a jsonb too large
  "54001": "content", // statement_too_complex: a jsonb too deep
  "28000": "access", // invalid_authorization_specification
  "28P01": "access", // invalid_password
  "3D000": "access", // invalid_catalog_name: no such database
  "22": "content", // data_exception
  "08": "connection", // connection_exception
  "57": "connection", // operator_intervention: shutdown, crash, starting up
  "58": "connection", // system_error: an I/O error, mended by a person or by a failover
  "53": "connection", // insufficient_resources: disk full, out of memory, too many connections
  XX: "connection", // internal_error
};

/** postgres.js's and the operating system's own codes for a connection that is not there (any more). */
const CONNECTION_CODES: ReadonlySet<string> = new Set([
  "CONNECTION_CLOSED",
  "CONNECTION_ENDED",
  "CONNECTION_DESTROYED",
  "CONNECT_TIMEOUT",
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ENOENT", // a Unix socket that is not there yet
]);

/** The connection is gone; thrown by our own code where it is the first to know. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The tables refuse what they must take; thrown where our own code found that out. */
export class SchemaFault extends Error {
  override readonly name = "SchemaFault";
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** True where the error itself says that the connection is gone, rather than what the server thinks of a statement. */
export function isDisconnection(error: unknown): boolean {
  return error instanceof ConnectionLost || CONNECTION_CODES.has(codeOf(error) ?? "");
}

/** Classifies anything that using the database can throw; total, so that no error is nobody's. */
export function classify(error: unknown): FaultKind {
  if (isDisconnection(error)) return "connection";
  if (error instanceof SchemaFault) return "schema";
  const code = codeOf(error);
  if (code === undefined) return "bug";
  if (!SQLSTATE.test(code)) return "bug";
  // Everything else that the server says is about statements and tables: missing columns, constraints.
  return KIND_BY_SQLSTATE[code] ?? KIND_BY_SQLSTATE[code.slice(0, 2)] ?? "schema";
}

/** One line for a log: the code, and the server's words without the values that its detail may quote. */
export function describeFault(error: unknown): string {
  const code = codeOf(error);
  const message = errorMessage(error);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

/** The sentence for a refused login or a missing database. */
export function describeRefusedLogin(
  error: unknown,
  { host, port, user, name }: Pick<DatabaseConfig, "host" | "port" | "user" | "name">,
): string {
  return `PostgreSQL at ${host}:${port} refuses user "${user}" for database "${name}": ${describeFault(error)}; ${adviceFor("access")}`;
}

/** What the operator can expect or do when a fault of this kind stops the flow. */
export function adviceFor(kind: FaultKind): string {
  switch (kind) {
    case "connection":
      return "waiting for PostgreSQL; nothing is lost, Kafka keeps the records";
    case "transient":
      return "the batch is done again";
    case "blocked":
      return "another session holds a lock that this one needs; the batch is done again";
    case "content":
      return "looking for the record that is refused";
    case "schema":
      return "paused: the tables are not as this version expects them; undo the change to them and the consumer goes on by itself";
    case "access":
      return "check DB_USER, DB_PASSWORD and DB_NAME";
    case "bug":
      return "this is a defect of the pipeline; please report it";
    default:
      return assertNever(kind);
  }
}
