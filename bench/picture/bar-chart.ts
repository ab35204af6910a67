// Draws values as horizontal bars.
import { count } from "../../shared/text/format.ts";
import { BLUE, type Chart, FAINT_INK, GRAY, INK, WIDTH } from "./chart.ts";
import { linearScale } from "./scale.ts";
import { element, label } from "./svg.ts";

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** The least and the greatest of the rounds. */
  readonly range: readonly [number, number];
  /** Ours; the others are gray. */
  readonly isOurs: boolean;
}

const ROW = 30;
const THICKNESS = 18;
const NAMES_WIDTH = 250;
const VALUES_WIDTH = 110;

/** One bar for each value, from the top; a thin line shows the range of its rounds. */
export function barChart(bars: readonly Bar[]): Chart {
  const most = Math.max(...bars.map(({ range }) => range[1]));
  const scale = linearScale([0, most], [NAMES_WIDTH, WIDTH - VALUES_WIDTH]);
  const rows = bars.flatMap(({ name, value, range, isOurs }, index) => {
    const middle = index * ROW + ROW / 2;
    const text = { y: middle + 4, fill: INK, "font-weight": isOurs ? 600 : 400 };
    return [
      label(name, { ...text, x: NAMES_WIDTH - 10, "text-anchor": "end" }),
      element("rect", {
        x: NAMES_WIDTH,
        y: middle - THICKNESS / 2,
        width: scale(value) - NAMES_WIDTH,
        height: THICKNESS,
        rx: 2,
        fill: isOurs ? BLUE : GRAY,
      }),
      element("line", {
        x1: scale(range[0]),
        x2: scale(range[1]),
        y1: middle,
        y2: middle,
        stroke: FAINT_INK,
        "stroke-width": 2,
      }),
      label(count(value), { ...text, x: scale(range[1]) + 8 }),
    ];
  });
  return { height: bars.length * ROW, content: rows.join("\n") };
}
