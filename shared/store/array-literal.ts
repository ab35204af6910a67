// Columns of JavaScript values in; PostgreSQL array literals out, each sent as one text parameter.

const SPECIAL = /["\\]/g;

/**
 * `{"a","b"}`. The driver's own way infers types and quotes value by value, at several times the cost.
 * @param plain true where no value can hold a quote or a backslash
 */
export function textArray(values: readonly string[], plain = false): string {
  if (values.length === 0) return "{}";
  const quoted = plain ? values : values.map((value) => value.replace(SPECIAL, "\\$&"));
  return `{"${quoted.join('","')}"}`;
}

/** `{1,NULL}`, for numbers and for whatever prints as one. */
export function numberArray(values: readonly (number | bigint | undefined)[]): string {
  return `{${values.map((value) => value ?? "NULL").join(",")}}`;
}

/** `{"\\x00ff",NULL}` for bytea. */
export function bytesArray(values: readonly (Uint8Array | undefined)[]): string {
  return `{${values
    .map((value) => (value === undefined ? "NULL" : `"\\\\x${Buffer.from(value).toString("hex")}"`))
    .join(",")}}`;
}
