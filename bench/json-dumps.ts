// A JSON value in; its text as Python's json.dumps writes it out.

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

export interface DumpsOptions {
  /** Python's default: what is not ASCII goes as \uXXXX. */
  readonly ensureAscii: boolean;
}

/** As `json.dumps(value, ensure_ascii=…)`: a space after each comma and colon. Numbers are eventsOf as JSON does. */
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
  // By UTF-16 unit: what lies beyond them is a pair of escapes in Python too.
  return quoted.replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
