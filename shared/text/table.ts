// Lays out rows of values as a plain table with aligned columns.
import { printable } from "./format.ts";

/** A number is aligned right, with separators; text is aligned left. Null and undefined are empty. */
export type Cell = string | number | null | undefined;

const GAP = "  ";
const MAX_WIDTH = 48;

/**
 * @param head the names of the columns
 * @param rows as many cells each
 * @returns lines, each indented
 */
export function formatTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string[] {
  const lines = [head, ...rows.map((row) => row.map(textOf))];
  const widths = head.map((_, column) =>
    Math.max(...lines.map((line) => Bun.stringWidth(line[column] ?? ""))),
  );
  const isNumeric = head.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  return lines.map((line) => {
    const cells = line.map((text, column) => {
      const padding = " ".repeat(widths[column]! - Bun.stringWidth(text));
      return isNumeric[column] ? padding + text : text + padding;
    });
    return (GAP + cells.join(GAP)).trimEnd();
  });
}

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "number") return cell.toLocaleString("en", { maximumFractionDigits: 3 });
  const text = printable(cell);
  return text.length > MAX_WIDTH ? `${text.slice(0, MAX_WIDTH - 1)}…` : text;
}
