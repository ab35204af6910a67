// Finds the rights on the pipeline's tables that a role lacks, and says how to grant them.

import { FatalError } from "../runtime/errors.ts";
import { textArray } from "./array-literal.ts";
import type { Database, Transaction } from "./session.ts";

export type Right = "SELECT" | "INSERT" | "UPDATE" | "DELETE";

/** What the consumer reads and writes. */
const TABLES = [
  "raw_events",
  "hourly_aggregations",
  "hourly_users",
  "dead_letter_events",
  "pipeline_offsets",
  "pipeline_metrics",
  "pipeline_state",
  "sealed_hours",
  "pruned_dead_letters",
];

/** What retention deletes from. */
const PRUNED_TABLES = ["raw_events", "hourly_users", "dead_letter_events", "pipeline_metrics"];

/** What the consumer does with its tables. */
export const CONSUMER_RIGHTS: readonly Right[] = ["SELECT", "INSERT", "UPDATE"];

/**
 * Tables that are missing count as granted: another check finds them.
 * @throws FatalError with the rights that the session's role lacks, and the statement that grants them; also where
 *   row-level security hides rows from it
 */
export async function assertRights(
  sql: Database | Transaction,
  rights: readonly Right[],
  tables: readonly string[] = TABLES,
): Promise<void> {
  const lacking = await sql<{ right: Right; name: string; role: string }[]>`
    select r.name as right, t.name, current_user::text as role
    from unnest(${textArray(tables)}::text[]) as t (name), unnest(${textArray(rights)}::text[]) as r (name)
    where not has_table_privilege(to_regclass(t.name), r.name)`;
  const [first] = lacking;
  if (first === undefined) return await assertAllRows(sql, tables);
  const distinct = (values: string[]) => [...new Set(values)].join(", ");
  const missing = distinct(lacking.map(({ right }) => right));
  const on = distinct(lacking.map(({ name }) => name));
  throw new FatalError(
    `role "${first.role}" lacks the right to ${missing} on ${on}: as the owner of the tables, GRANT ${missing} ON ${on} TO "${first.role}"`,
  );
}

/** @throws FatalError where the session's role may not delete what is past its retention */
export async function assertPruningRights(sql: Database): Promise<void> {
  await assertRights(sql, ["DELETE"], PRUNED_TABLES);
}

/** A policy hides rows: each figure would be too small, and an event stored before would look new. */
async function assertAllRows(sql: Database | Transaction, tables: readonly string[]): Promise<void> {
  const hiding = await sql<{ name: string; role: string }[]>`
    select t.name, current_user::text as role from unnest(${textArray(tables)}::text[]) as t (name)
    where row_security_active(to_regclass(t.name))`;
  const [first] = hiding;
  if (first === undefined) return;
  const on = hiding.map(({ name }) => name).join(", ");
  throw new FatalError(
    `row-level security hides rows of ${on} from role "${first.role}": disable it there, or ALTER ROLE "${first.role}" BYPASSRLS`,
  );
}
