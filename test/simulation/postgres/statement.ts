// Declares what the model knows of a statement: its text, and what executing it does.

import type { ServerTransaction } from "./server-transaction.ts";
import type { Tables } from "./tables.ts";

/** A row of an answer, as the driver gives it. */
export type AnswerRow = Readonly<Record<string, unknown>>;

/** An answer: its rows, and how many rows the statement has touched. */
export interface Answer {
  readonly rows: readonly AnswerRow[];
  readonly count: number;
}

export const NOTHING: Answer = { rows: [], count: 0 };

/** What a statement may use. */
export interface StatementContext {
  readonly transaction: ServerTransaction;
  readonly tables: Tables;
  readonly backendPid: number;
  /** The optional parts of the statement's text that are there. */
  readonly parts: ReadonlySet<string>;
  /** clock_timestamp(), ms since 1970. */
  readonly clockMs: () => number;
  /** The other sessions, by the beginning of application_name, that have waited in a transaction for their client so long. */
  readonly stuckPeers: (namePrefixes: readonly string[], seconds: number) => number[];
  /** All sessions, by the beginning of application_name. */
  readonly sessions: (namePrefix: string) => number[];
  /** pg_terminate_backend. */
  readonly terminate: (pid: number) => void;
  /** SET lock_timeout. */
  readonly setLockTimeout: (ms: number) => void;
}

/** Values as the driver sends them: the model's session converts none of them. */
export type Parameters = readonly unknown[];

export interface Statement {
  readonly name: string;
  /**
   * The whole text, without regard to white space. A part in brackets, `[[name: sql]]`, may be missing: the model
   * then does without it, so that a fault planted in the SQL has its effect.
   */
  readonly text: string;
  /** The tables that it uses; all statements on a table fail together where the schema is at fault. */
  readonly table: string | undefined;
  /** True for a statement that a read-only transaction refuses. */
  readonly writes: boolean;
  /** Executes it; a COPY gets its input as the only parameter. @throws ServerError */
  run(context: StatementContext, parameters: Parameters): Promise<Answer> | Answer;
}

/** Compares texts as COLLATE "C" does, for the characters that tests use. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** The items in an order that the statement's text asks for, else as they are. */
export function inOrder<T>(
  { parts }: StatementContext,
  items: readonly T[],
  compare: (a: T, b: T) => number,
): readonly T[] {
  return parts.has("order") ? items.toSorted(compare) : items;
}
