// Finds the metrics and labels that a PromQL expression names, to compare them with metrics.ts.

/** One `name{label="value"}` of an expression. */
export interface Selector {
  readonly metric: string;
  readonly matchers: readonly {
    readonly label: string;
    readonly operator: string;
    readonly value: string;
  }[];
}

const KEYWORDS = new Set(["and", "or", "unless", "bool", "offset", "group_left", "group_right"]);
const MATCHER = /([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"/g;

/** The selectors of an expression. A metric named by `__name__` alone is not found; we use none. */
export function selectors(expression: string): Selector[] {
  const text = expression
    .replaceAll(/\[[^\]]*\]/g, "")
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, "");
  return [...text.matchAll(/(?<![\w.:])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?\s*(\(?)/g)].flatMap(
    ([, metric = "", braces = "", call]) => {
      if (call === "(" || KEYWORDS.has(metric)) return [];
      const matchers = [...braces.matchAll(MATCHER)].map(([, label = "", operator = "", value = ""]) => ({
        label,
        operator,
        value,
      }));
      return [{ metric, matchers }];
    },
  );
}

/** The labels that an expression groups by or matches on. */
export function groupingLabels(expression: string): string[] {
  const lists = expression.matchAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g);
  return [...lists].flatMap(([, list = ""]) =>
    list
      .split(",")
      .map((label) => label.trim())
      .filter(Boolean),
  );
}
