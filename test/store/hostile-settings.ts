// Gives a database settings that differ from all that the sessions of the pipeline need.
import type { TestDatabase } from "../support/postgres.ts";

/** What a session needs otherwise, or would not survive. */
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
  row_security: "on",
};

/** What a session bears: none of its statements depends on these. */
export const STRANGE_SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: "German",
  IntervalStyle: "sql_standard",
  client_encoding: "LATIN1",
  backslash_quote: "off",
  escape_string_warning: "on",
  quote_all_identifiers: "on",
  transform_null_equals: "on",
  session_replication_role: "replica",
  default_transaction_deferrable: "on",
  check_function_bodies: "off",
  client_min_messages: "debug1",
  plan_cache_mode: "force_generic_plan",
  enable_seqscan: "off",
  enable_hashagg: "off",
  enable_nestloop: "off",
  work_mem: "64kB",
  jit_above_cost: "0",
  lc_numeric: "C",
  timezone_abbreviations: "India",
  track_activities: "off",
  xmloption: "document",
  // Named force_parallel_mode before version 16.
  debug_parallel_query: "on",
  force_parallel_mode: "on",
  restrict_nonsystem_relation_kind: "view, foreign-table",
  search_path: '"$user", public, pg_catalog',
};

/** Sets them for all later sessions; the server's version may lack some. */
export async function setHostileSettings(
  { sql, name }: TestDatabase,
  settings = HOSTILE_SETTINGS,
): Promise<void> {
  for (const [setting, value] of Object.entries(settings)) {
    const [known] = await sql`select current_setting(${setting}, true) is not null as yes`;
    if (!known?.["yes"]) continue;
    // A list is one value for each of its items.
    const given = setting === "search_path" ? value : `'${value}'`;
    await sql.unsafe(`alter database "${name}" set ${setting} = ${given}`);
  }
}
