// Explains to a person why the database cannot be used by a program that does not wait for it.

import type { DatabaseConfig } from "../config/config.ts";
import { FatalError } from "../runtime/errors.ts";
import { classify, describeFault, describeRefusedLogin } from "./sqlstate.ts";

/** @returns a fault of the server, the network, the login, the tables or a lock as one sentence; any other error as it is */
export function explainUnavailable(error: unknown, database: DatabaseConfig): unknown {
  const { host, port } = database;
  const kind = classify(error);
  if (kind === "access") return new FatalError(describeRefusedLogin(error, database), { cause: error });
  if (kind === "blocked" || kind === "transient") {
    return new FatalError(`another session is in the way: ${describeFault(error)}; try again`, {
      cause: error,
    });
  }
  if (kind === "schema") {
    return new FatalError(`the tables are not as this version expects them: ${describeFault(error)}`, {
      cause: error,
    });
  }
  if (kind !== "connection") return error;
  return new FatalError(
    `PostgreSQL at ${host}:${port} cannot be read: ${describeFault(error)}; check DB_HOST and DB_PORT`,
    { cause: error },
  );
}
