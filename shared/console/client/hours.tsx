// Shows the hours as a stacked chart of event types, and the figures of one hour as a table.
import { useEffect, useRef, useState } from "hono/jsx";
import uPlot from "uplot";
import type { Hours } from "../../api-schema.ts";
import { axis, colorOf, drawn } from "./chart.tsx";
import { compact, count, duration, hour as hourText, plural } from "../../text/format.ts";
import { NumberHeads, Section, SourceNote, wasRead } from "./layout.tsx";

type Hour = Hours["hours"][number];

const HEIGHT = 260;
/** The bars of fewer hours are as narrow as those of so many. */
const MIN_SLOTS = 8;
const OTHERS = "other types";
const PALETTE = 10;
const LABEL_WIDTH = 52;

export function HoursSection({ hours: { database, hours } }: { hours: Hours }) {
  const [chosen, setChosen] = useState<number | null>(null);
  const shown = hours.find(({ startMs }) => startMs === chosen) ?? hours.at(-1);
  const known = useRef<readonly string[]>([]);
  const types = withTypes(known.current ?? [], hours);
  known.current = types;
  return (
    <Section
      id="hours"
      title="Hours by event type"
      aside={
        hours.length > 0
          ? `the newest ${plural(hours.length, "hour")} with events, UTC`
          : wasRead(database) && "no events yet"
      }
    >
      <SourceNote source={database} name="PostgreSQL" />
      {shown !== undefined && (
        <div class="hours">
          <div class="card">
            <HourChart hours={hours} types={types} onChoose={setChosen} />
          </div>
          <div class="card">
            <p>
              <label>
                hour from{" "}
                <select
                  value={String(shown.startMs)}
                  onChange={(event: Event) => {
                    const start = Number((event.target as HTMLSelectElement).value);
                    setChosen(start === hours.at(-1)?.startMs ? null : start);
                  }}
                >
                  {hours.toReversed().map(({ startMs }) => (
                    <option key={startMs} value={String(startMs)} selected={startMs === shown.startMs}>
                      {hourText(startMs)}
                    </option>
                  ))}
                </select>
              </label>{" "}
              <span class="quiet">{shown.isClosed ? "closed" : "open"}</span>
            </p>
            <HourTable hour={shown} types={types} />
          </div>
        </div>
      )}
    </Section>
  );
}

function HourTable({ hour: { types, others }, types: all }: { hour: Hour; types: readonly string[] }) {
  const late = types.reduce((sum, { lateEvents }) => sum + lateEvents, 0);
  const events = types.reduce((sum, type) => sum + type.events, others?.events ?? 0);
  return (
    <div class="scroll" tabindex={0} role="region" aria-label="Figures of this hour">
      <table class="hour">
        <thead>
          <tr>
            <th scope="col">event type</th>
            <NumberHeads names={["events", "unique users", "average"]} />
          </tr>
        </thead>
        <tbody>
          {types.map(({ eventType, events: ofType, uniqueUsers, averageSeconds }) => (
            <tr key={eventType}>
              <th scope="row">
                <span class="swatch" style={{ background: `var(${colorName(all, eventType)})` }} />
                {eventType}
              </th>
              <td class="number">{count(ofType)}</td>
              <td class="number">{count(uniqueUsers)}</td>
              <td class="number">{duration(averageSeconds)}</td>
            </tr>
          ))}
          {others !== null && (
            <tr key={OTHERS}>
              <th scope="row">
                <span class="swatch" style={{ background: "var(--type-others)" }} />
                {plural(others.types, "other type")}
              </th>
              <td class="number">{count(others.events)}</td>
              <td />
              <td />
            </tr>
          )}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">all</th>
            <td class="number">{count(events)}</td>
            <td colspan={2} class="number quiet">
              {late > 0 && `${count(late)} late`}
            </td>
          </tr>
        </tfoot>
      </table>
    </div>
  );
}

function HourChart({
  hours,
  types,
  onChoose,
}: {
  hours: readonly Hour[];
  types: readonly string[];
  onChoose: (startMs: number) => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const shownHours = useRef(hours);
  shownHours.current = hours;
  const names = types.join("\0");
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const bars = uPlot.paths.bars?.({ size: [0.72, 72], radius: 0.06 });
    const labels = (): readonly Hour[] => shownHours.current ?? [];
    const end = drawn(element, chart, (size) => ({
      ...size,
      height: HEIGHT,
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: false, y: false }, y: false },
      scales: {
        x: {
          time: false,
          range: () => [Math.min(-0.5, labels().length - MIN_SLOTS - 0.5), labels().length - 0.5],
        },
        y: { range: (_, _min, max) => [0, Math.max(1, max * 1.08)] },
      },
      axes: [
        {
          ...axis(),
          grid: { show: false },
          size: 40,
          splits: (plot) => labeled(labels().length, plot.width),
          values: (_, splits) => splits.map((index) => axisHour(labels(), index)),
        },
        { ...axis(), size: 52, space: 40, values: (_, splits) => splits.map(compact) },
      ],
      // The highest stack comes first, so that the lower ones are drawn over it.
      series: [
        {},
        ...[OTHERS, ...types.toReversed()].map((type): uPlot.Series => {
          const fill = colorOf(colorName(types, type));
          return {
            label: type,
            fill,
            width: 0,
            points: { show: false },
            ...(bars === undefined ? {} : { paths: bars }),
          };
        }),
      ],
    }));
    const choose = (): void => {
      const index = chart.current?.cursor.idx;
      const start = typeof index === "number" ? labels()[index]?.startMs : undefined;
      if (start !== undefined) onChoose(start);
    };
    element.addEventListener("click", choose);
    return () => {
      element.removeEventListener("click", choose);
      end();
    };
  }, [names]);

  useEffect(() => chart.current?.setData(stacked(hours, types)));
  const newest = hours.at(-1);
  const label =
    newest === undefined
      ? "no hours"
      : `Events by hour and type, from ${hourText(hours[0]!.startMs)} to ${hourText(newest.startMs)} UTC; the figures of each hour are in the table beside it`;
  return <div ref={box} class="plot bars" role="img" aria-label={label} />;
}

/**
 * The event types with their own color, as many as there are colors. The most frequent types get one first, and
 * each keeps its place and its color.
 */
function withTypes(known: readonly string[], hours: readonly Hour[]): readonly string[] {
  const totals = new Map<string, number>();
  for (const { types } of hours) {
    for (const { eventType, events } of types) totals.set(eventType, (totals.get(eventType) ?? 0) + events);
  }
  const fresh = [...totals.keys()]
    .filter((type) => !known.includes(type))
    .toSorted((a, b) => totals.get(b)! - totals.get(a)! || a.localeCompare(b));
  return [...known, ...fresh].slice(0, PALETTE);
}

function colorName(types: readonly string[], type: string): string {
  const index = types.indexOf(type);
  return index < 0 ? "--type-others" : `--type-${index}`;
}

/** Each series is the sum of its type and all below it; the other types come on top. */
function stacked(hours: readonly Hour[], types: readonly string[]): uPlot.AlignedData {
  const sums = hours.map(() => 0);
  const series = types.map((type) =>
    hours.map((hour, index) => {
      sums[index]! += hour.types.find(({ eventType }) => eventType === type)?.events ?? 0;
      return sums[index]!;
    }),
  );
  const totals = hours.map(({ types: found, others }) =>
    found.reduce((sum, { events }) => sum + events, others?.events ?? 0),
  );
  return [hours.map((_, index) => index), totals, ...series.toReversed()];
}

/** The newest hour, and as many earlier ones as there is room for. */
function labeled(hours: number, width: number): number[] {
  const every = Math.max(1, Math.ceil((LABEL_WIDTH * Math.max(hours, MIN_SLOTS)) / width));
  return Array.from(
    { length: Math.ceil(hours / every) },
    (_, index) => hours - 1 - index * every,
  ).toReversed();
}

/** The time of day, and the date at the start of a day. */
function axisHour(hours: readonly Hour[], index: number): string {
  const start = hours[index]?.startMs;
  if (start === undefined) return "";
  const [date = "", clock = ""] = hourText(start).split(" ");
  const isMarked = index === hours.length - 1 || !hourText(hours[index - 1]?.startMs ?? 0).startsWith(date);
  return isMarked ? `${clock}\n${date.slice(5)}` : clock;
}
