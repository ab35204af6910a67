// Makes the errors that a PostgreSQL server answers with.

/** An answer of the server; `code` is its SQLSTATE. */
export class ServerError extends Error {
  override readonly name = "PostgresError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What the driver throws for a connection; `code` is one of the driver or of the operating system. */
export class DriverError extends Error {
  readonly code: string;

  constructor(code: string) {
    super(`write ${code} postgres-model:5432`);
    this.code = code;
  }
}

const MESSAGES: Readonly<Record<string, string>> = {
  "22003": 'value "100000000000000000000" is out of range for type smallint',
  "25006": "cannot execute the statement in a read-only transaction",
  "25P02": "current transaction is aborted, commands ignored until end of transaction block",
  "25P03": "terminating connection due to idle-in-transaction timeout",
  "28P01": "password authentication failed",
  "40001": "could not serialize access due to concurrent update",
  "40P01": "deadlock detected",
  "42703": "column does not exist",
  "53100": "could not extend file: No space left on device",
  "53300": "sorry, too many clients already",
  "55P03": "canceling statement due to lock timeout",
  "57014": "canceling statement due to statement timeout",
  "57P01": "terminating connection due to administrator command",
  "57P02": "terminating connection because of crash of another server process",
  "57P03": "the database system is starting up",
};

/** The error of an SQLSTATE, with PostgreSQL's words where the model knows them. */
export function serverError(code: string): ServerError {
  return new ServerError(code, MESSAGES[code] ?? `the server reports SQLSTATE ${code}`);
}

/** A unique key exists already. */
export function uniqueViolation(constraint: string): ServerError {
  return new ServerError("23505", `duplicate key value violates unique constraint "${constraint}"`);
}
