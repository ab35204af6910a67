// Draws series over time as a chart; its legend shows the figures under the pointer.
import { useEffect, useRef, useState } from "hono/jsx";
import uPlot from "uplot";
import { UNKNOWN } from "../../text/format.ts";

export interface Line {
  readonly label: string;
  /** A custom property of the style sheet. */
  readonly color: string;
  readonly values: readonly (number | null)[];
  readonly isFilled?: boolean;
  /** True for errors: a red line along the bottom would look like an alarm. */
  readonly hidesZero?: boolean;
}

export interface TimeChartProps {
  readonly title: string;
  readonly unit: string;
  readonly timesMs: readonly number[];
  readonly lines: readonly Line[];
  /** Formats a value for the legend. */
  readonly show: (value: number) => string;
  /** Formats a value for the axis. */
  readonly tick: (value: number) => string;
  /** The start of the axis and its least end; the axis is logarithmic unless it starts at 0. */
  readonly range: readonly [number, number];
}

const HEIGHT = 150;
const MAX_DECADES = 5;
/** The value of uPlot.Scale.Distr.Logarithmic. */
const LOGARITHMIC: number = 3;
const AXIS_FONT = "11px system-ui, sans-serif";

export function TimeChart({ title, unit, timesMs, lines, show, tick, range }: TimeChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const [hovered, setHovered] = useState<number | null>(null);

  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    return drawn(element, chart, (size) => ({
      ...size,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "time" }, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: range[0] === 0 ? linear(range) : logarithmic(range) },
      axes: [
        {
          ...axis(),
          size: 24,
          space: 80,
          values: (_, splits) => splits.map((split) => new Date(split * 1000).toISOString().slice(11, 19)),
        },
        {
          ...axis(),
          size: 52,
          space: 30,
          values: (_, splits) => splits.map(tick),
          ...(range[0] === 0 ? {} : { splits: decades, filter: (_: uPlot, splits: number[]) => splits }),
        },
      ],
      series: [
        {},
        ...lines.map(({ label, color, isFilled }): uPlot.Series => {
          const stroke = colorOf(color);
          return {
            label,
            stroke,
            width: 1.75,
            points: { show: false },
            spanGaps: false,
            ...(isFilled ? { fill: `color-mix(in srgb, ${stroke} 14%, transparent)` } : {}),
          };
        }),
      ],
      hooks: { setCursor: [({ cursor }) => setHovered(cursor.idx ?? null)] },
    }));
  }, []);

  const seconds = timesMs.map((atMs) => atMs / 1000);
  const drawnValues = lines.map(({ values, hidesZero }) =>
    values.map((value) => (hidesZero && value === 0 ? null : value)),
  );
  useEffect(() => chart.current?.setData([seconds, ...drawnValues]));

  const at = hovered ?? timesMs.length - 1;
  const shown = (line: Line): string => {
    const value = line.values[at];
    return value === null || value === undefined ? UNKNOWN : show(value);
  };
  const latest = lines.map((line) => `${line.label} ${showLast(line, show)}`).join(", ");
  return (
    <figure class="chart card">
      <figcaption>
        <h3>{title}</h3>
        <ul class="legend">
          {lines.map((line) => (
            <li key={line.label}>
              <span class="swatch" style={{ background: `var(${line.color})` }} />
              {line.label} <b>{shown(line)}</b>
            </li>
          ))}
        </ul>
      </figcaption>
      <div
        ref={box}
        class="plot"
        role="img"
        aria-label={`${title}, ${unit}, last five minutes; now ${latest}`}
      />
    </figure>
  );
}

function linear([least, most]: readonly [number, number]): uPlot.Scale {
  return { range: (_, _min, max) => [least, Math.max(max * 1.1, most)] };
}

/** Whole decades. */
function logarithmic([least, most]: readonly [number, number]): uPlot.Scale {
  const decade = (value: number): number => 10 ** Math.ceil(Math.log10(value) - 1e-9);
  return {
    // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- the enum exists only in types
    distr: LOGARITHMIC,
    range: (_, min, max) => [
      Math.min(least, 10 ** Math.floor(Math.log10(min || least))),
      Math.max(most, decade(max || most)),
    ],
  };
}

function decades({ scales }: uPlot): number[] {
  const { min = 1, max = 1 } = scales["y"] ?? {};
  const first = Math.round(Math.log10(min ?? 1));
  const last = Math.round(Math.log10(max ?? 1));
  const every = Math.ceil((last - first + 1) / MAX_DECADES);
  const powers = Array.from(
    { length: Math.floor((last - first) / every) + 1 },
    (_, index) => first + index * every,
  );
  return powers.map((power) => Number(`1e${power}`));
}

function showLast({ values }: Line, show: (value: number) => string): string {
  const last = values.at(-1);
  return last === null || last === undefined ? UNKNOWN : show(last);
}

/** Draws a chart as wide as the element, and again when the color scheme changes. @returns removes the chart */
export function drawn(
  element: HTMLElement,
  chart: { current: uPlot | null },
  options: (size: { width: number }) => uPlot.Options,
): () => void {
  const make = (): void => {
    const data = chart.current?.data ?? [[]];
    chart.current?.destroy();
    chart.current = new uPlot(options({ width: element.clientWidth || 300 }), data, element);
  };
  make();
  const resized = new ResizeObserver(() => {
    const width = element.clientWidth;
    if (width > 0 && chart.current !== null) chart.current.setSize({ width, height: chart.current.height });
  });
  resized.observe(element);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", make);
  return () => {
    scheme.removeEventListener("change", make);
    resized.disconnect();
    chart.current?.destroy();
    chart.current = null;
  };
}

/** The options that all axes share. */
export function axis(): uPlot.Axis {
  return {
    stroke: colorOf("--quiet"),
    font: AXIS_FONT,
    grid: { stroke: colorOf("--line"), width: 1 },
    ticks: { show: false },
  };
}

export function colorOf(property: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}
