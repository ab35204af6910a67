// Draws a report as one SVG picture.
import type { BenchReport } from "../report.ts";
import { medianOf } from "../rounds.ts";
import { type Bar, barChart } from "./bar-chart.ts";
import { BLUE, type Chart, FAINT_INK, FONT, GRAY, INK, ORANGE, titled, WIDTH } from "./chart.ts";
import { lineChart } from "./line-chart.ts";
import { element, label } from "./svg.ts";

const MARGIN = 28;
const HEAD_HEIGHT = 58;
const GAP = 30;
const ROUNDS = "events/s, medians; the thin line is from the least to the greatest round";

/** @param date of the run, "2026-01-31" @returns a picture of the scenarios that are drawn, of those that ran */
export function pictureOf(report: BenchReport, date: string): string {
  const { cpu, cores, memoryGiB, bun, postgres, kafka } = report.machine;
  const charts = [
    ...drainChart(report),
    ...pinnedChart(report),
    ...latencyChart(report),
    ...growthCharts(report),
  ];
  let y = MARGIN + HEAD_HEIGHT;
  const placed = charts.map(({ height, content }) => {
    const at = y;
    y += height + GAP;
    return element("g", { transform: `translate(${MARGIN} ${at})` }, content);
  });
  const [width, height] = [WIDTH + 2 * MARGIN, y - GAP + MARGIN];
  const machine = `${cpu}, ${cores} cores for consumer, PostgreSQL and broker, ${memoryGiB} GiB; Bun ${bun}, PostgreSQL ${postgres}, Kafka ${kafka}`;
  return `${element(
    "svg",
    { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, ...FONT },
    element("rect", { width, height, fill: "#ffffff" }),
    label(`bun run bench, ${date}`, {
      x: MARGIN,
      y: MARGIN + 14,
      fill: INK,
      "font-size": 18,
      "font-weight": 600,
    }),
    label(machine, { x: MARGIN, y: MARGIN + 36, fill: FAINT_INK }),
    ...placed,
  )}\n`;
}

type Rates = readonly { readonly eventsPerSecond: number }[];

function bar(name: string, rounds: Rates, isOurs = false): Bar {
  const all = rounds.map(({ eventsPerSecond }) => eventsPerSecond);
  const range = [Math.min(...all), Math.max(...all)] as const;
  return { name, value: medianOf(rounds, "eventsPerSecond"), range, isOurs };
}

function drainChart({ drain, peer }: BenchReport): Chart[] {
  const consumers = (drain ?? peer)?.rounds.map(({ consumer }) => consumer);
  if (consumers === undefined) return [];
  const of = <Round>(
    rounds: readonly Round[] | undefined,
    name: string,
    rates: (round: Round) => Rates[0],
  ) =>
    rounds === undefined
      ? []
      : [
          bar(
            name,
            rounds.map((round) => rates(round)),
          ),
        ];
  const bars = [
    ...of(drain?.rounds, "bare COPY of the same bytes", ({ copy }) => copy),
    bar("consumer", consumers, true),
    ...of(drain?.rounds, "consumer, INSERT only", ({ unnest }) => unnest),
    ...of(peer?.rounds, "Kafka Connect, without a key", (round) => round.connectWithoutKey),
    ...of(peer?.rounds, "Kafka Connect, with a key", (round) => round.connectWithKey),
  ];
  return [titled("Draining a full topic", ROUNDS, barChart(bars))];
}

function pinnedChart({ pinned }: BenchReport): Chart[] {
  if (pinned === undefined) return [];
  const bars = [
    bar(
      "bare COPY of the same bytes",
      pinned.rounds.map(({ copy }) => copy),
    ),
    bar(
      "consumer",
      pinned.rounds.map(({ consumer }) => consumer),
      true,
    ),
  ];
  return [titled("Draining, PostgreSQL on one core, the others on another", ROUNDS, barChart(bars))];
}

function latencyChart({ latency }: BenchReport): Chart[] {
  if (latency === undefined) return [];
  const line = (name: string, color: string, figure: "p50Ms" | "p90Ms" | "p99Ms") => ({
    name,
    color,
    points: latency.loads.map((load) => [load.ratePerSecond, load[figure]] as const),
  });
  const series = [line("p99", ORANGE, "p99Ms"), line("p90", GRAY, "p90Ms"), line("p50", BLUE, "p50Ms")];
  return [
    titled(
      "Latency under load",
      "ms from publishing an event to its hour in PostgreSQL; the last load is half of the rate of a drain",
      lineChart({ series, xName: "events/s", isLogarithmic: true }),
    ),
  ];
}

function growthCharts({ growth }: BenchReport): Chart[] {
  if (growth === undefined) return [];
  type Step = (typeof growth.timeLed)[number];
  const cost = (step: Omit<Step, "rows" | "walBytesPerEvent">) =>
    step.clientCpuMicrosPerEvent + step.postgresCpuMicrosPerEvent + step.brokerCpuMicrosPerEvent;
  const both = (figure: (step: Step) => number) => [
    {
      name: "ids led by time",
      color: BLUE,
      points: growth.timeLed.map((step) => [step.rows, figure(step)] as const),
    },
    {
      name: "random UUIDs",
      color: ORANGE,
      points: growth.random.map((step) => [step.rows, figure(step)] as const),
    },
  ];
  const users = growth.users.map((step) => [step.users, cost(step)] as const);
  const xName = "rows in raw_events";
  return [
    titled(
      "Growth of the table: rate",
      "events/s of a drain onto a table of this size",
      lineChart({ series: both((step) => step.eventsPerSecond), xName }),
    ),
    titled(
      "Growth of the table: cost",
      "µs of CPU per event: consumer, PostgreSQL and broker together",
      lineChart({ series: both(cost), xName }),
    ),
    titled(
      "Growth of the users of an hour: cost",
      "µs of CPU per event, into empty tables",
      lineChart({
        series: [{ name: "all together", color: BLUE, points: users }],
        xName: "users",
        isLogarithmic: true,
      }),
    ),
  ];
}
