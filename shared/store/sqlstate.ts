// Classifies anything that a statement can throw, and says what to do about it.

import type { DatabaseConfig } from "../config/config.ts";
import { assertNever, codeOf, errorMessage } from "../runtime/errors.ts";

/**
 * - `connection`: the connection is lost or cannot be opened; wait and connect again
 * - `transient`: the transaction lost a conflict with another one; repeat it
 * - `blocked`: a lock was not granted in time; a stuck peer may hold it
 * - `content`: the content of a record is refused
 * - `schema`: the tables are not as the program expects them; every batch fails until a person fixes them
 * - `access`: the server refuses the login, or there is no such database
 * - `bug`: not an answer of the server; the program is wrong
 */
export type FaultKind = "connection" | "transient" | "blocked" | "content" | "schema" | "access" | "bug";

/** By SQLSTATE, then by class (its first two characters); from the table in PostgreSQL's appendix A. */
const KIND_BY_SQLSTATE: Readonly<Record<string, FaultKind>> = {
  "40001": "transient", // serialization_failure
  "40P01": "transient", // deadlock_detected: two events of one id, in two partitions, in opposite order
  "40003": "connection", // statement_completion_unknown
  "55P03": "blocked", // lock_not_available
  "57014": "blocked", // query_canceled: statement_timeout
  "26000": "connection", // invalid_sql_statement_name: a pooler has given this transaction to another backend
  "42P05": "connection", // duplicate_prepared_statement: so it has
  "25006": "connection", // read_only_sql_transaction: a standby, or a former primary; a new connection may reach the new one
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
  "58": "connection", // system_error: an I/O error, fixed by a person or by a failover
  "53": "connection", // insufficient_resources: disk full, out of memory, too many connections
  XX: "connection", // internal_error
};

/** Codes of postgres.js and of the operating system for a connection that cannot be opened or is lost. */
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

/** The connection is lost; thrown by our own code where it finds out first. */
export class ConnectionLost extends Error {
  override readonly name: string = "ConnectionLost";
}

/** A transaction has not ended in time. Fewer records may: the next batch is smaller. */
export class DeadlineExceeded extends ConnectionLost {
  override readonly name: string = "DeadlineExceeded";
}

/** The tables refuse valid data; thrown where our own code finds out. */
export class SchemaFault extends Error {
  override readonly name = "SchemaFault";
}

/** No session was opened, for a reason that the message says whole. */
export class SessionRefused extends Error {
  override readonly name = "SessionRefused";
  readonly kind: "connection" | "access";

  constructor(kind: "connection" | "access", message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** PgBouncer gives most of its refusals the code of a broken protocol. */
const PROTOCOL_VIOLATION = "08P01";
const REFUSED_BY_POOLER =
  /authentication failed|no such (user|database)|does not exist|permission denied|not allowed|unsupported/i;

/** Codes of TLS for a certificate that is not trusted or does not belong to the host. */
const CERTIFICATE_CODE = /^(ERR_TLS_CERT|CERT_|UNABLE_TO_|HOSTNAME_|INVALID_CA)|SELF_SIGNED_CERT/;
/** Codes of TLS for all else that ends a connection. */
const TLS_CODE = /^ERR_(TLS|SSL|OSSL|BORINGSSL)/;

/** True for a lost connection; false for what the server reports about a statement. */
export function isDisconnection(error: unknown): boolean {
  const code = codeOf(error) ?? "";
  return error instanceof ConnectionLost || CONNECTION_CODES.has(code) || TLS_CODE.test(code);
}

/** Classifies anything that using the database can throw. */
export function classify(error: unknown): FaultKind {
  if (isDisconnection(error)) return "connection";
  if (error instanceof SchemaFault) return "schema";
  if (error instanceof SessionRefused) return error.kind;
  const code = codeOf(error);
  if (code === undefined) return "bug";
  if (!SQLSTATE.test(code)) return "bug";
  if (code === PROTOCOL_VIOLATION && REFUSED_BY_POOLER.test(errorMessage(error))) return "access";
  // All other codes of the server are about statements and tables: missing columns, constraints.
  return KIND_BY_SQLSTATE[code] ?? KIND_BY_SQLSTATE[code.slice(0, 2)] ?? "schema";
}

/**
 * What `Session.open` throws for an error before the session was usable: nothing that happens there is a bug or a
 * fault of the tables.
 */
export function refusalOf(error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined) return error;
  const fault = describeFault(error);
  const refused = (kind: SessionRefused["kind"], message: string) =>
    new SessionRefused(kind, message, { cause: error });
  if (CERTIFICATE_CODE.test(code)) {
    return refused(
      "access",
      `the server's certificate is not accepted: ${fault}; check DB_SSLROOTCERT, DB_SSLMODE and DB_HOST`,
    );
  }
  if (TLS_CODE.test(code)) {
    return refused(
      "access",
      `TLS with the server fails: ${fault}; check DB_SSLMODE, DB_SSLROOTCERT, DB_SSLCERT and DB_SSLKEY`,
    );
  }
  const kind = classify(error);
  if (kind === "bug") return refused("connection", `the connection cannot be opened: ${fault}`);
  if (kind === "schema" || kind === "content")
    return refused("access", `the server refuses the session: ${fault}`);
  return error;
}

/** One line for a log: the server's message and code, without the detail, which may quote values. */
export function describeFault(error: unknown): string {
  const code = codeOf(error);
  const message = errorMessage(error);
  return code === undefined || message.includes(code) ? message : `${message} (${code})`;
}

/** The sentence for a refused login, a missing database, or a server that is not fit. */
export function describeRefusedLogin(
  error: unknown,
  { host, port, user, name }: Pick<DatabaseConfig, "host" | "port" | "user" | "name">,
): string {
  if (error instanceof SessionRefused)
    return `PostgreSQL at ${host}:${port} cannot be used: ${error.message}`;
  return `PostgreSQL at ${host}:${port} refuses user "${user}" for database "${name}": ${explainFault(error)}`;
}

/** A fault with what the operator can expect or do. */
export function explainFault(error: unknown, kind = classify(error)): string {
  // A refusal says it itself.
  if (error instanceof SessionRefused) return error.message;
  return `${describeFault(error)}; ${adviceFor(kind)}`;
}

/** What the operator can expect or do when a fault of this kind stops the flow. */
export function adviceFor(kind: FaultKind): string {
  switch (kind) {
    case "connection":
      return "waiting for PostgreSQL; nothing is lost, Kafka keeps the records";
    case "transient":
      return "the batch is retried";
    case "blocked":
      return "another session holds a lock that this one needs; the batch is retried";
    case "content":
      return "searching for the record that PostgreSQL refuses";
    case "schema":
      return "paused: the tables are not as this version expects them; undo the change to them, and the consumer resumes; or start the newer version that changed them";
    case "access":
      return "check DB_USER, DB_PASSWORD (or what DB_PASSWORD_FILE or DB_PASSWORD_COMMAND gives) and DB_NAME";
    case "bug":
      return "this is a bug in the pipeline; please report it";
    default:
      return assertNever(kind);
  }
}
