// Refuses a pooler that gives a session another backend for each transaction.

import type { DatabaseConfig } from "../config/config.ts";
import { Session, type SessionOptions } from "./session.ts";
import { classify, SessionRefused } from "./sqlstate.ts";

/**
 * Finds out whether a session has its backend for itself. Behind a pooler a second session opens for a moment: in
 * transaction mode it gets the backend of the first one, which is idle. Then settings, prepared statements and all that
 * a worker knows about its backend would not hold.
 *
 * @throws SessionRefused where the two share a backend
 */
export async function assertOwnBackend(
  session: Session,
  config: DatabaseConfig,
  options: SessionOptions,
): Promise<void> {
  if (!session.isPooled) return;
  const second = await openAnother(config, options);
  if (second === undefined) return;
  try {
    const [now] = await session.run((sql) => sql<[{ pid: number }]>`select pg_backend_pid() as pid`);
    if (second.backendPid !== session.backendPid && now.pid === session.backendPid) return;
  } finally {
    await second.close();
  }
  throw new SessionRefused(
    "access",
    "the pooler in front of it gives a backend to each transaction, and a session needs one for itself: set the pooler to session mode (pool_mode = session), or connect to the server directly",
  );
}

/** A pool that has no backend left keeps the first one for its session: in transaction mode it would be free. */
async function openAnother(config: DatabaseConfig, options: SessionOptions): Promise<Session | undefined> {
  try {
    return await Session.open(config, options);
  } catch (error) {
    if (classify(error) === "connection") return undefined;
    throw error;
  }
}
