// Gives a database settings that differ from all that the sessions of the pipeline need.
import type { TestDatabase } from "../support/postgres.ts";

export const HOSTILE_SETTINGS: Readonly<Record<string, string>> = {
  bytea_output: "escape",
  DateStyle: "SQL, DMY",
  TimeZone: "Asia/Kolkata",
  extra_float_digits: "-15",
  standard_conforming_strings: "off",
  array_nulls: "off",
  default_transaction_isolation: "serializable",
  idle_session_timeout: "5s",
  idle_in_transaction_session_timeout: "1ms",
  lock_timeout: "1ms",
  statement_timeout: "5s",
  transaction_timeout: "5s",
  synchronous_commit: "on",
  tcp_keepalives_idle: "7200",
};

/** Sets them for all later sessions. */
export async function setHostileSettings({ sql, name }: TestDatabase): Promise<void> {
  for (const [setting, value] of Object.entries(HOSTILE_SETTINGS)) {
    await sql.unsafe(`alter database "${name}" set ${setting} = '${value}'`);
  }
}
