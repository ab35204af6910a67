// Writes JSON as Python's json.dumps does.

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

export interface DumpsOptions {
  /** Writes characters beyond ASCII as \uXXXX, as Python does by default. */
  readonly ensureAscii: boolean;
}

/** Like `json.dumps(value, ensure_ascii=…)`: a space after each comma and colon. Numbers are written as in JSON. */
export function dumps(value: Json, options: DumpsOptions): string {
  if (Array.isArray(value)) return `[${value.map((item: Json) => dumps(item, options)).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(
      ([name, member]) => `${text(name, options)}: ${dumps(member, options)}`,
    );
    return `{${members.join(", ")}}`;
  }
  return typeof value === "string" ? text(value, options) : JSON.stringify(value);
}

function text(value: string, { ensureAscii }: DumpsOptions): string {
  const quoted = JSON.stringify(value);
  if (!ensureAscii) return quoted;
  // Each UTF-16 unit separately: Python also writes a pair of escapes for a character beyond 16 bits.
  return quoted.replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
