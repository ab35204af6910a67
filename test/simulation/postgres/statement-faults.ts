// Decides which statements and commits of the model fail, and how.

import { type ServerError, serverError } from "./server-error.ts";
import type { ServerTransaction } from "./server-transaction.ts";
import type { Statement } from "./statement.ts";

/** What becomes of one COMMIT whose answer the client never gets. */
export interface LostAnswer {
  /** Whether the COMMIT takes effect. */
  readonly isApplied: boolean;
  /** `closed`: the client learns at once that the connection is gone. `silent`: it has to find out by its deadline. */
  readonly connection: "closed" | "silent";
}

interface FailingStatements {
  readonly code: string;
  left: number;
  readonly name: string | undefined;
}

export class StatementFaults {
  /** True while the server accepts no changes; a transaction keeps what held at its beginning. */
  isReadOnly = false;
  isDiskFull = false;
  /** By table: the SQLSTATE of every statement on it while its schema is at fault. */
  readonly schemaFaults = new Map<string, string>();
  #failing: FailingStatements[] = [];
  #lostAnswers: LostAnswer[] = [];
  #slowCommits: number[] = [];
  /** How often a fault of a kind has come to effect. */
  readonly bitten = new Map<string, number>();

  /** The next `count` statements fail; only those of this name where one is given. */
  failStatements(code: string, count: number, name?: string): void {
    this.#failing.push({ code, left: count, name });
  }

  /** The answer of the next COMMIT is lost. */
  loseCommitAnswer(how: LostAnswer): void {
    this.#lostAnswers.push(how);
  }

  /** The next COMMIT takes this long; its locks are held meanwhile. */
  slowCommit(ms: number): void {
    this.#slowCommits.push(ms);
  }

  /** Ends all faults. */
  clear(): void {
    this.isReadOnly = false;
    this.isDiskFull = false;
    this.schemaFaults.clear();
    this.#failing = [];
    this.#lostAnswers = [];
    this.#slowCommits = [];
  }

  /** The error of a statement that must fail. */
  errorFor(
    { name, table, writes }: Pick<Statement, "name" | "table" | "writes">,
    transaction: ServerTransaction,
  ): ServerError | undefined {
    if (writes && transaction.isReadOnly) return this.#error("25006", "read-only");
    const schemaFault = table === undefined ? undefined : this.schemaFaults.get(table);
    if (schemaFault !== undefined) return this.#error(schemaFault, "schema");
    if (writes && this.isDiskFull) return this.#error("53100", "disk full");
    const failing = this.#failing.find((each) => each.name === undefined || each.name === name);
    if (failing === undefined) return undefined;
    if (--failing.left <= 0) this.#failing = this.#failing.filter((each) => each !== failing);
    return this.#error(failing.code, `statement ${failing.code}`);
  }

  /** What becomes of a COMMIT that arrives now. */
  takeCommitFault(): { lostAnswer: LostAnswer | undefined; delayMs: number } {
    const lostAnswer = this.#lostAnswers.shift();
    if (lostAnswer !== undefined)
      this.count(`COMMIT ${lostAnswer.isApplied ? "" : "not "}applied, answer lost`);
    const delayMs = this.#slowCommits.shift() ?? 0;
    if (delayMs > 0) this.count("slow COMMIT");
    return { lostAnswer, delayMs };
  }

  count(what: string): void {
    this.bitten.set(what, (this.bitten.get(what) ?? 0) + 1);
  }

  #error(code: string, what: string): ServerError {
    this.count(what);
    return serverError(code);
  }
}
