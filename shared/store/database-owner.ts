// A consumer group in; the database taken for it, or a refusal while another one is fed by it.

import { FatalError } from "../runtime/errors.ts";
import { APPLICATION_PREFIX, applicationName, type Database } from "./session.ts";
import { textArray } from "./array-literal.ts";

/** Who had the database before: `undefined` where it is new or was ours. */
export interface TakenOver {
  readonly previousGroup: string | undefined;
}

/**
 * A database holds one fold: its offsets belong to it, not to a consumer group. A second group would read
 * everything twice for nothing, and each would fail the other's fences.
 *
 * @throws FatalError while consumers of the recorded group are connected
 */
export async function claimDatabase(sql: Database, consumerGroup: string): Promise<TakenOver> {
  return await sql.begin(async (tx) => {
    const [state] = await tx<[{ consumer_group: string | null }]>`
      select consumer_group from pipeline_state for update`;
    const recorded = state.consumer_group ?? undefined;
    if (recorded === consumerGroup) return { previousGroup: undefined };
    if (recorded !== undefined) {
      const names = [applicationName("worker", recorded), applicationName("main", recorded)];
      const [others] = await tx<[{ connections: number }]>`
        select count(*)::int as connections from pg_stat_activity
        where datname = current_database() and application_name = any(${textArray(names)}::text[])`;
      if (others.connections > 0) {
        throw new FatalError(
          `this database is fed by the consumer group "${recorded}" (${others.connections} connections), and a database serves one group: ` +
            `stop those consumers, or set KAFKA_CONSUMER_GROUP=${recorded}, or give "${consumerGroup}" a database of its own`,
        );
      }
    }
    await tx`update pipeline_state set consumer_group = ${consumerGroup}, updated_at = now()`;
    return { previousGroup: recorded };
  });
}

/** @throws FatalError where another group has taken the database over while this one was away */
export async function assertStillOurs(sql: Database, consumerGroup: string): Promise<void> {
  const [state] = await sql<[{ consumer_group: string | null }]>`select consumer_group from pipeline_state`;
  if (state.consumer_group !== consumerGroup) {
    throw new FatalError(
      `the consumer group "${state.consumer_group}" has taken this database over from "${consumerGroup}"`,
    );
  }
}

/**
 * Ends the sessions of this application that have sat in a transaction for `seconds`, waiting for their own
 * client: that client is stopped or gone, and its locks stop everyone else. Its batch is rolled back, and if it
 * comes back, the fence tells it so. PostgreSQL's own timeouts do not reach a session that waits for COPY data.
 *
 * @returns the process ids of the backends that were ended
 */
export async function endStuckPeers(sql: Database, seconds: number): Promise<number[]> {
  // Found first, ended afterwards: as one more condition of the same query, pg_terminate_backend would be
  // called before the costlier conditions were looked at, and for every backend of the server.
  const rows = await sql<{ pid: number }[]>`
    with stuck as materialized (
      select pid from pg_stat_activity
      where datname = current_database()
        and application_name like ${`${APPLICATION_PREFIX} %`}
        and pid <> pg_backend_pid()
        and xact_start is not null
        and wait_event_type = 'Client'
        and greatest(state_change, query_start) < clock_timestamp() - make_interval(secs => ${seconds}::float8)
    )
    select pid from stuck where pg_terminate_backend(pid)`;
  return rows.map(({ pid }) => pid);
}
