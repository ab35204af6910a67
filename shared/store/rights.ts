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
];

/** What the consumer does with its tables. */
export const CONSUMER_RIGHTS: readonly Right[] = ["SELECT", "INSERT", "UPDATE"];

/**
 * Tables that are missing count as granted: another check finds them.
 * @throws FatalError with the rights that the session's role lacks, and the statement that grants them
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
  if (first === undefined) return;
  const distinct = (values: string[]) => [...new Set(values)].join(", ");
  const missing = distinct(lacking.map(({ right }) => right));
  const on = distinct(lacking.map(({ name }) => name));
  throw new FatalError(
    `role "${first.role}" lacks the right to ${missing} on ${on}: as the owner of the tables, GRANT ${missing} ON ${on} TO "${first.role}"`,
  );
}
