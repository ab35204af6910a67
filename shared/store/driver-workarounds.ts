// The driver's `begin` in; one that leaves a transaction alone once its connection is gone out.

import type { Sql, TransactionSql } from "postgres";

type Types = { bigint: number };
type Body<T> = (tx: TransactionSql<Types>) => T | Promise<T>;
/** `begin` and `savepoint`: what is to be done, and before it, if anything, options or a name. */
type Scope = <T>(...given: [Body<T>] | [text: string, Body<T>]) => Promise<T>;

/**
 * The driver ends a transaction with ROLLBACK or COMMIT, a savepoint with ROLLBACK TO, also where the connection
 * has closed meanwhile. That write throws from a timer, where nobody can catch it, and ends the process
 * (porsager/postgres, issues 1066 and 1208). So a body that ends on a lost connection never answers the driver,
 * which has rejected its transaction by then: it does so in the moment in which the connection closes.
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
