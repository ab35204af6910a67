// Loads the function of --edit, gives it the decoded value of a letter, and encodes what it returns.

import { isUtf8 } from "node:buffer";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ConfigurationError, errorMessage } from "../../shared/runtime/errors.ts";
import type { Letter } from "../../shared/store/dead-letters/letter-pages.ts";
import { formatLetterId } from "./letter-id.ts";

/** What the function gets beside the value. */
export interface LetterFacts {
  readonly id: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly error: string;
  readonly firstSeenAt: Date;
  readonly key: Uint8Array | undefined;
  /** The bytes of the value; undefined for a tombstone. */
  readonly bytes: Uint8Array | undefined;
}

/**
 * The default export of the file.
 *
 * @param value what JSON.parse makes of the record's value; a string where it is not JSON, a Uint8Array where it is not
 *   UTF-8, undefined for a tombstone. A number that JavaScript cannot hold exactly is a JSON.rawJSON with its digits
 * @returns the mended value: an object; or a string, the text of the JSON; or the bytes; undefined leaves the letter alone
 */
export type Edit = (value: unknown, letter: LetterFacts) => unknown;

/** @throws ConfigurationError where the file cannot be loaded, or exports no function */
export async function loadEdit(path: string): Promise<Edit> {
  if (!existsSync(path)) throw new ConfigurationError([`--edit ${path}: there is no such file`]);
  let module: { default?: unknown };
  try {
    module = (await import(pathToFileURL(resolve(path)).href)) as { default?: unknown };
  } catch (error) {
    throw new ConfigurationError([`--edit ${path} cannot be loaded: ${errorMessage(error)}`]);
  }
  if (typeof module.default === "function") return module.default as Edit;
  throw new ConfigurationError([
    `--edit ${path} has no function as its default export: begin with "export default (value) => …"`,
  ]);
}

/** @returns the mended bytes; undefined where the function leaves the letter alone. @throws what the function throws */
export async function editLetter(edit: Edit, letter: Letter): Promise<Uint8Array | undefined> {
  const { topic, partition, offset, reason, error, firstSeenAt, key, value } = letter;
  const result = await edit(decoded(value), {
    id: formatLetterId(letter),
    topic,
    partition,
    offset,
    reason,
    error,
    firstSeenAt,
    key: key ?? undefined,
    bytes: value ?? undefined,
  });
  if (result === undefined) return undefined;
  if (result instanceof Uint8Array) return result;
  const text: string | undefined = typeof result === "string" ? result : JSON.stringify(result);
  if (text === undefined) throw new TypeError(`the function has returned a ${typeof result}`);
  return Buffer.from(text);
}

function decoded(value: Buffer | null): unknown {
  if (value === null) return undefined;
  if (!isUtf8(value)) return value;
  const text = value.toString();
  try {
    return JSON.parse(text, MAY_BE_INEXACT.test(text) ? keepDigits : undefined) as unknown;
  } catch {
    return text;
  }
}

/** JSON.rawJSON is not in TypeScript's library yet. */
declare global {
  interface JSON {
    rawJSON(text: string): object;
  }
}

const MAX_EXACT_DIGITS = 15;
/** Finds each number that JavaScript may not hold, and a few strings: to look at every value takes several times as long. */
const MAY_BE_INEXACT = /(?:^|[[:,\s])-?(?:[\d.]{16}|[\d.]+[eE])/;

/** Most numbers are written as JavaScript writes them, or are short. */
function keepDigits(_: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  if (String(value) === context.source) return value;
  const digits = context.source
    .replace(/[eE].*/, "")
    .replaceAll(/[^\d]/g, "")
    .replace(/^0+/, "");
  const isExact =
    digits.length <= MAX_EXACT_DIGITS && Number.isFinite(value) && (value !== 0 || digits === "");
  return isExact ? value : JSON.rawJSON(context.source);
}
