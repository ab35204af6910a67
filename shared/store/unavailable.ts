// Explains to a person why the database cannot be used at a start.

import type { DatabaseConfig } from "../config/config.ts";
import { FatalError } from "../runtime/errors.ts";
import { classify, describeFault, describeRefusedLogin } from "./sqlstate.ts";

/** @returns a fault of the server, the network or the login as one sentence; any other error as it is */
export function explainUnavailable(error: unknown, database: DatabaseConfig): unknown {
  const { host, port } = database;
  const kind = classify(error);
  if (kind === "access") return new FatalError(describeRefusedLogin(error, database), { cause: error });
  if (kind !== "connection" && kind !== "blocked" && kind !== "transient") return error;
  return new FatalError(
    `PostgreSQL at ${host}:${port} cannot be read: ${describeFault(error)}; check DB_HOST and DB_PORT`,
    { cause: error },
  );
}
