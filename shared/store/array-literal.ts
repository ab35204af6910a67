// Writes columns of JavaScript values as PostgreSQL array literals, each sent as one text parameter.

const SPECIAL = /["\\]/g;

/**
 * `{"a","b"}`. The driver's own arrays cost several times as much: it infers types and quotes value by value.
 * @param plain true where no value can hold a quote or a backslash
 */
export function textArray(values: readonly string[], plain = false): string {
  if (values.length === 0) return "{}";
  const quoted = plain ? values : values.map((value) => value.replace(SPECIAL, "\\$&"));
  return `{"${quoted.join('","')}"}`;
}

/** `{1,NULL}` */
export function numberArray(values: readonly (number | bigint | undefined)[]): string {
  return `{${values.map((value) => value ?? "NULL").join(",")}}`;
}

/** `{"\\x00ff",NULL}`, for bytea. */
export function bytesArray(values: readonly (Uint8Array | undefined)[]): string {
  return `{${values
    .map((value) => (value === undefined ? "NULL" : `"\\\\x${Buffer.from(value).toString("hex")}"`))
    .join(",")}}`;
}
