// Shows that a fault has reached the consumers, by the resyncs that it causes.
import type { ChaosCluster } from "./cluster.ts";

/** What decides how soon a consumer asks a database again that has failed. */
export const BY_BACKOFF = "retry of the database, 5 s at most";

/** Resyncs of the consumers that a fault has caused, as evidence. */
export function resyncs({ fleet }: ChaosCluster, ...causes: readonly string[]) {
  const total = () => causes.reduce((sum, cause) => sum + fleet.total("resyncs_total", { cause }), 0);
  const before = total();
  return async (): Promise<string | undefined> => {
    const more = total() - before;
    return more > 0 ? `${more} resyncs of the consumers (${causes.join(", ")})` : undefined;
  };
}
