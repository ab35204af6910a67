// Reads PostgreSQL array literals, as array-literal.ts writes them.

/** The elements of a text array; NULL is undefined. */
export function textValues(literal: string): (string | undefined)[] {
  if (literal === "{}") return [];
  if (isPlain(literal)) return literal.slice(2, -2).split('","');
  return parse(literal);
}

/** The elements of a text array without NULL. */
export function texts(literal: string): string[] {
  return textValues(literal).map((text) => {
    if (text === undefined) throw new Error(`an array that may not hold NULL: ${literal}`);
    return text;
  });
}

/** The elements of an array of numbers; NULL is undefined. */
export function numberValues(literal: string): (number | undefined)[] {
  return unquoted(literal).map((text) => (text === "NULL" ? undefined : Number(text)));
}

/** The elements of an array of numbers without NULL. */
export function numbers(literal: string): number[] {
  return unquoted(literal).map(Number);
}

/** The elements of an array of timestamps or other values that need no quotes. */
export function unquoted(literal: string): string[] {
  return literal === "{}" ? [] : literal.slice(1, -1).split(",");
}

/** The elements of an array of bytea; NULL is undefined. */
export function bytesValues(literal: string): (Uint8Array | undefined)[] {
  return textValues(literal).map((text) =>
    text === undefined ? undefined : Buffer.from(text.slice(2), "hex"),
  );
}

/** True where every element is quoted and nothing in it is escaped. */
function isPlain(literal: string): boolean {
  return literal.startsWith('{"') && !literal.includes("\\") && !literal.includes("NULL");
}

/** Reads an array literal of one dimension, character by character. */
function parse(literal: string): (string | undefined)[] {
  const values: (string | undefined)[] = [];
  let at = 1;
  while (at < literal.length) {
    if (literal[at] === '"') {
      let text = "";
      for (at++; literal[at] !== '"'; at++) {
        if (literal[at] === "\\") at++;
        text += literal[at] ?? unterminated(literal);
      }
      values.push(text);
      at += 2;
    } else {
      const end = literal.slice(at).search(/[,}]/) + at;
      const text = literal.slice(at, end);
      values.push(text === "NULL" ? undefined : text);
      at = end + 1;
    }
  }
  return values;
}

function unterminated(literal: string): never {
  throw new Error(`an array literal that does not end: ${literal}`);
}
