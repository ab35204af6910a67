// What the charts of a picture have in common.
import { element, label } from "./svg.ts";

export const WIDTH = 860;
export const INK = "#1f2328";
export const FAINT_INK = "#59636e";
export const GRID = "#d8dee4";
export const BLUE = "#0969da";
export const ORANGE = "#bc4c00";
export const GRAY = "#8c959f";
export const FONT = { "font-family": "system-ui, sans-serif", "font-size": 13 };
const TITLE_HEIGHT = 44;

/** A part of a picture, drawn from its left upper corner. */
export interface Chart {
  readonly height: number;
  readonly content: string;
}

/** A chart below its title and a line that explains it. */
export function titled(title: string, explanation: string, { height, content }: Chart): Chart {
  return {
    height: height + TITLE_HEIGHT,
    content: [
      label(title, { x: 0, y: 14, fill: INK, "font-weight": 600, "font-size": 15 }),
      label(explanation, { x: 0, y: 33, fill: FAINT_INK, "font-size": 12 }),
      element("g", { transform: `translate(0 ${TITLE_HEIGHT})` }, content),
    ].join("\n"),
  };
}
