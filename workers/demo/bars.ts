// Draws values as rows of block characters.

const HEIGHTS = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] as const;
const WIDTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] as const;
const FULL = "█";

/**
 * The newest `width` values as one row, the newest on the right, padded on the left.
 * @param most the value that fills a cell
 */
export function sparkline(values: readonly number[], width: number, most: number): string {
  if (width <= 0) return "";
  const cells = values.slice(-width).map((value) => {
    if (value <= 0 || most <= 0) return HEIGHTS[0];
    const height = Math.round((Math.min(value, most) / most) * HEIGHTS.length);
    return HEIGHTS[Math.max(1, height) - 1]!;
  });
  return cells.join("").padStart(width);
}

/** A bar of at most `width` cells, exact to an eighth of a cell; every value above 0 is visible. */
export function bar(value: number, width: number, most: number): string {
  if (value <= 0 || width <= 0 || most <= 0) return "";
  const eighths = Math.max(1, Math.round((Math.min(value, most) / most) * width * 8));
  return FULL.repeat(Math.floor(eighths / 8)) + WIDTHS[eighths % 8]!;
}
