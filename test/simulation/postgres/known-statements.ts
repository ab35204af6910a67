// Recognizes the statements of the store by their text.

import type { Statement } from "./statement.ts";
import { insertDeadLettersStatement } from "./statements/dead-letters.ts";
import { addToHoursStatement, closeHoursStatement } from "./statements/hours.ts";
import { advanceStatement, fenceStatement } from "./statements/fence.ts";
import {
  currentReadingsStatement,
  enterStatement,
  positionsStatement,
  skipGapStatement,
  startReadingStatement,
} from "./statements/positions.ts";
import { pruneStatement, raiseCutoffsStatement, sealHoursStatement } from "./statements/retention.ts";
import { copyStatement, insertByUnnestStatement, lookUpStatement } from "./statements/raw-events.ts";
import { readStateStatement } from "./statements/pipeline-state.ts";
import { readRefusedStatement, searchStatement, setEventsStatement } from "./statements/poison-search.ts";
import {
  consumerGroupStatement,
  endStuckPeersStatement,
  endWorkersStatement,
  greetingStatement,
  lockTimeoutStatement,
  nothingStatement,
  roleStatement,
} from "./statements/session-statements.ts";

/** A statement with the optional parts of its text that are there. */
export interface KnownStatement {
  readonly statement: Statement;
  readonly parts: ReadonlySet<string>;
}

interface Pattern {
  readonly statement: Statement;
  readonly expression: RegExp;
}

const PATTERNS: readonly Pattern[] = [
  fenceStatement,
  advanceStatement,
  readStateStatement,
  positionsStatement,
  enterStatement,
  skipGapStatement,
  currentReadingsStatement,
  startReadingStatement,
  insertByUnnestStatement,
  copyStatement,
  lookUpStatement,
  setEventsStatement,
  searchStatement,
  readRefusedStatement,
  insertDeadLettersStatement,
  addToHoursStatement,
  closeHoursStatement,
  raiseCutoffsStatement,
  sealHoursStatement,
  pruneStatement,
  consumerGroupStatement,
  endStuckPeersStatement,
  endWorkersStatement,
  greetingStatement,
  lockTimeoutStatement,
  nothingStatement,
  roleStatement,
].map((statement) => ({ statement, expression: expressionOf(statement.text) }));

/** Each text is matched once. */
const known = new Map<string, KnownStatement>();

/** @throws Error where the model does not know the statement: it has to learn what the store has changed */
export function knownStatement(text: string): KnownStatement {
  let found = known.get(text);
  if (found === undefined) {
    found = recognize(text);
    known.set(text, found);
  }
  return found;
}

function recognize(text: string): KnownStatement {
  const plain = withoutWhiteSpace(text);
  for (const { statement, expression } of PATTERNS) {
    const groups = expression.exec(plain);
    if (groups === null) continue;
    const parts = Object.entries(groups.groups ?? {}).filter(([, part]) => part !== undefined);
    return { statement, parts: new Set(parts.map(([name]) => name)) };
  }
  throw new Error(
    `the model of PostgreSQL does not know this statement; add it to test/simulation/postgres/statements: ${text}`,
  );
}

/** An expression for the text, in which each `[[name: part]]` is an optional group. */
function expressionOf(text: string): RegExp {
  const pieces = text.split(/(\[\[\w+:.*?\]\])/s).map((piece) => {
    const [, name, part] = /^\[\[(\w+):(.*)\]\]$/s.exec(piece) ?? [];
    const source = RegExp.escape(withoutWhiteSpace(part ?? piece));
    return name === undefined ? source : `(?<${name}>${source})?`;
  });
  return new RegExp(`^${pieces.join("")}$`, "s");
}

function withoutWhiteSpace(text: string): string {
  return text.replaceAll(/\s+/g, "");
}
