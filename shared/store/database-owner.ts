// Claims the database for a consumer group, refuses a second one, and ends stuck sessions of the application.

import { FatalError } from "../runtime/errors.ts";
import type { Database, Transaction } from "./session.ts";
import { APPLICATION_PREFIX, applicationName } from "./session-settings.ts";
import { textArray } from "./array-literal.ts";
import { assertStateRow } from "./pipeline-state.ts";

interface StateRow {
  consumer_group: string | null;
}

/** @throws SchemaFault where somebody has deleted the row */
function groupOf(state: StateRow | undefined): string | undefined {
  return assertStateRow(state).consumer_group ?? undefined;
}

/** The result of a claim. */
interface TakenOver {
  /** The group that owned the database before; undefined where it is new or already ours. */
  readonly previousGroup: string | undefined;
}

/**
 * Claims the database for a consumer group. The stored offsets belong to the database, not to a group: with two
 * groups every record would be read twice for nothing, and each group would fail the other's fences.
 *
 * @throws FatalError while consumers of the recorded group are connected
 */
export async function claimDatabase(sql: Database, consumerGroup: string): Promise<TakenOver> {
  return await sql.begin(async (tx) => {
    const [state] = await tx<StateRow[]>`select consumer_group from pipeline_state for update`;
    const recorded = groupOf(state);
    if (recorded === consumerGroup) return { previousGroup: undefined };
    if (recorded !== undefined) await assertDisconnected(tx, recorded, consumerGroup);
    await tx`update pipeline_state set consumer_group = ${consumerGroup}, updated_at = now()`;
    return { previousGroup: recorded };
  });
}

/** What `claimDatabase` would do, without doing it. @throws FatalError as it does */
export async function previewClaim(sql: Database, consumerGroup: string): Promise<TakenOver> {
  const [state] = await sql<StateRow[]>`select consumer_group from pipeline_state`;
  const recorded = groupOf(state);
  if (recorded === undefined || recorded === consumerGroup) return { previousGroup: undefined };
  await assertDisconnected(sql, recorded, consumerGroup);
  return { previousGroup: recorded };
}

/** @throws FatalError while consumers of the recorded group are connected */
async function assertDisconnected(
  sql: Database | Transaction,
  recorded: string,
  consumerGroup: string,
): Promise<void> {
  const names = [applicationName("worker", recorded), applicationName("main", recorded)];
  const [others] = await sql<[{ connections: number }]>`
    select count(*)::int as connections from pg_stat_activity
    where datname = current_database() and application_name = any(${textArray(names)}::text[])`;
  if (others.connections === 0) return;
  throw new FatalError(
    `this database is fed by the consumer group "${recorded}" (${others.connections} connections), and a database serves one group: ` +
      `stop those consumers, or set KAFKA_CONSUMER_GROUP=${recorded}, or give "${consumerGroup}" its own database`,
  );
}

/** @throws FatalError where another group has claimed the database while this one was disconnected */
export async function assertStillOurs(sql: Database, consumerGroup: string): Promise<void> {
  const [state] = await sql<StateRow[]>`select consumer_group from pipeline_state`;
  const recorded = groupOf(state);
  if (recorded !== consumerGroup) {
    throw new FatalError(
      `the consumer group "${recorded}" has taken over this database from "${consumerGroup}"`,
    );
  }
}

/** The roles that lock rows; a check or a console holds up no worker. */
const STORING_ROLES = ["worker", "main"].map((role) => `${APPLICATION_PREFIX} ${role} %`);

/**
 * Ends the sessions of this application that have waited for their client inside a transaction for `seconds`: the
 * client is stopped or gone, and its locks block the others. Its batch is rolled back; if the client resumes, its
 * fence fails. PostgreSQL's own timeouts do not apply to a session that waits for COPY data.
 *
 * @returns the process ids of the backends that were ended
 */
export async function endStuckPeers(sql: Database, seconds: number): Promise<number[]> {
  return await sql.begin(async (tx) => {
    // Under a role that the settings of the login take on, PostgreSQL hides the login's own backends.
    await tx`set local role none`;
    // Materialized first: in a single WHERE clause the planner may evaluate pg_terminate_backend before the costlier
    // conditions, for every backend of the server.
    const rows = await tx<{ pid: number }[]>`
      with stuck as materialized (
        select pid from pg_stat_activity
        where datname = current_database()
          and application_name like any(${textArray(STORING_ROLES)}::text[])
          and pid <> pg_backend_pid()
          and xact_start is not null
          and wait_event_type = 'Client'
          and greatest(state_change, query_start) < clock_timestamp() - make_interval(secs => ${seconds}::float8)
      )
      select pid from stuck where pg_terminate_backend(pid)`;
    return rows.map(({ pid }) => pid);
  });
}

/**
 * Ends the sessions of all workers of this database. Each opens another one, and reads its stored offsets again; it knows
 * nothing any more of what the tables hold.
 * @returns the process ids of the backends that were ended
 */
export async function endWorkerSessions(tx: Transaction): Promise<number[]> {
  await tx`set local role none`;
  const rows = await tx<{ pid: number }[]>`
    with workers as materialized (
      select pid from pg_stat_activity
      where datname = current_database() and application_name like ${`${APPLICATION_PREFIX} worker %`}
    )
    select pid from workers where pg_terminate_backend(pid)`;
  return rows.map(({ pid }) => pid);
}
