// Works around faults of postgres.js that end the process when a connection is lost.

import type { Sql, TransactionSql } from "postgres";

type Types = { bigint: number };
type Body<T> = (tx: TransactionSql<Types>) => T | Promise<T>;
/** `begin` and `savepoint`: the body, optionally after the transaction's options or the savepoint's name. */
type Scope = <T>(...given: [Body<T>] | [text: string, Body<T>]) => Promise<T>;

/**
 * The driver ends a transaction with ROLLBACK or COMMIT, and a savepoint with ROLLBACK TO, even when the connection
 * has closed meanwhile. That write throws from a timer, where it cannot be caught, and ends the process
 * (porsager/postgres, issues 1066 and 1208). So a body that ends on a lost connection never returns to the driver.
 * The transaction is settled all the same: the driver rejects it when the connection closes.
 *
 * Remove this module when a release of the driver contains its pull requests 1209 and 1215.
 */
export function suppressRollbackAfterDisconnect(sql: Sql<Types>, isLost: () => boolean): void {
  const guarded = <T>(body: Body<T>): Body<T> => {
    return async (tx) => {
      Object.assign(tx, { savepoint: guardedScope(tx.savepoint.bind(tx) as Scope) });
      try {
        return await body(tx);
      } finally {
        if (isLost()) await new Promise(() => undefined);
      }
    };
  };
  const guardedScope =
    (scope: Scope): Scope =>
    (...given) =>
      given.length === 1 ? scope(guarded(given[0])) : scope(given[0], guarded(given[1]));
  Object.assign(sql, { begin: guardedScope(sql.begin.bind(sql) as Scope) });
}
