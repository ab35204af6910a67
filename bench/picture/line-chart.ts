// Draws series of points as lines.
import { compact } from "../../shared/text/format.ts";
import { type Chart, FAINT_INK, GRID, WIDTH } from "./chart.ts";
import { linearScale, logScale, type Scale, ticks } from "./scale.ts";
import { element, label } from "./svg.ts";

export interface Series {
  readonly name: string;
  readonly color: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface LineChartOptions {
  readonly series: readonly Series[];
  /** "events/s" */
  readonly xName: string;
  /** A logarithmic axis names the values of the points; a linear one begins at 0. */
  readonly isLogarithmic?: boolean;
}

const HEIGHT = 240;
const PLOT = { left: 56, right: WIDTH - 150, top: 10, bottom: HEIGHT - 46 };
/** Between the names of two lines, so that they stay readable. */
const NAME_DISTANCE = 16;

/** Lines over axes whose values begin at 0 in y; each line is named at its end. */
export function lineChart({ series, xName, isLogarithmic = false }: LineChartOptions): Chart {
  const points = series.flatMap((one) => one.points);
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const yTicks = ticks(Math.max(...ys));
  const xTicks = isLogarithmic ? [...new Set(xs)].toSorted((a, b) => a - b) : ticks(Math.max(...xs));
  const range = [xTicks[0]!, xTicks.at(-1)!] as const;
  const x = (isLogarithmic ? logScale : linearScale)(range, [PLOT.left, PLOT.right]);
  const y = linearScale([0, yTicks.at(-1)!], [PLOT.bottom, PLOT.top]);
  return {
    height: HEIGHT,
    content: [
      ...yTicks.flatMap((tick) => horizontal(tick, y)),
      ...xTicks.map((tick) =>
        label(compact(tick), {
          x: x(tick),
          y: PLOT.bottom + 18,
          fill: FAINT_INK,
          "text-anchor": "middle",
          "font-size": 12,
        }),
      ),
      label(xName, {
        x: (PLOT.left + PLOT.right) / 2,
        y: PLOT.bottom + 36,
        fill: FAINT_INK,
        "text-anchor": "middle",
        "font-size": 12,
      }),
      ...series.map((one) => line(one, x, y)),
      ...names(series, y),
    ].join("\n"),
  };
}

function horizontal(tick: number, y: Scale): string[] {
  return [
    element("line", { x1: PLOT.left, x2: PLOT.right, y1: y(tick), y2: y(tick), stroke: GRID }),
    label(compact(tick), {
      x: PLOT.left - 8,
      y: y(tick) + 4,
      fill: FAINT_INK,
      "text-anchor": "end",
      "font-size": 12,
    }),
  ];
}

function line({ color, points }: Series, x: Scale, y: Scale): string {
  const places = points.map(([px, py]) => [x(px), y(py)] as const);
  const path = places.map(([px, py], index) => `${index === 0 ? "M" : "L"}${px.toFixed(1)} ${py.toFixed(1)}`);
  return [
    element("path", { d: path.join(" "), fill: "none", stroke: color, "stroke-width": 2 }),
    ...places.map(([cx, cy]) => element("circle", { cx, cy, r: 3, fill: color })),
  ].join("\n");
}

/** The names at the ends of the lines, moved apart where these are close. */
function names(series: readonly Series[], y: Scale): string[] {
  const places = series
    .map(({ name, color, points }) => ({ name, color, at: y(points.at(-1)![1]) }))
    .toSorted((a, b) => a.at - b.at);
  let free = Number.NEGATIVE_INFINITY;
  return places.map(({ name, color, at }) => {
    free = Math.max(at, free) + NAME_DISTANCE;
    return label(name, { x: PLOT.right + 10, y: free - NAME_DISTANCE + 4, fill: color, "font-weight": 600 });
  });
}
