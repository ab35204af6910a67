// Ends sessions that were left open in a transaction with a snapshot: it slows every commit for as long as it lasts.

import type { Database } from "./session.ts";

/** A session that was ended. */
export interface EndedSession {
  readonly pid: number;
  readonly user: string;
  readonly application: string;
  readonly idleSeconds: number;
}

/**
 * Ends the sessions of this database that have been idle in a transaction for `seconds` and hold a snapshot, such as one
 * that was forgotten in psql. PostgreSQL then keeps all versions of the rows that every commit changes. A session that
 * runs a statement, as pg_dump does, is left alone, and so is one that the login may not end.
 */
export async function endIdleSnapshots(sql: Database, seconds: number): Promise<EndedSession[]> {
  return await sql.begin(async (tx) => {
    // Under a role that the settings of the login take on, PostgreSQL hides the login's own backends.
    await tx`set local role none`;
    // Materialized first, so that pg_terminate_backend is evaluated for no other backend.
    return [
      ...(await tx<EndedSession[]>`
        with idle as materialized (
          select a.pid, a.usename as "user", a.application_name as application,
            extract(epoch from clock_timestamp() - a.state_change)::int as "idleSeconds"
          from pg_stat_activity a join pg_roles owner on owner.oid = a.usesysid
            join pg_roles login on login.rolname = current_user
          where a.datname = current_database()
            and a.pid <> pg_backend_pid()
            and a.state like 'idle in transaction%'
            and (a.backend_xmin is not null or a.backend_xid is not null)
            and a.state_change < clock_timestamp() - make_interval(secs => ${seconds}::float8)
            and (login.rolsuper or not owner.rolsuper)
            and (pg_has_role(a.usesysid, 'usage') or pg_has_role('pg_signal_backend', 'usage'))
        )
        select pid, "user", application, "idleSeconds" from idle where pg_terminate_backend(pid)`),
    ];
  });
}
