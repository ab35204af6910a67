import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { keepReport, machineName } from "../../bench/keep.ts";
import { lineChart } from "../../bench/picture/line-chart.ts";
import { pictureOf } from "../../bench/picture/picture.ts";
import { linearScale, logScale, ticks } from "../../bench/picture/scale.ts";
import { element, label } from "../../bench/picture/svg.ts";
import type { BenchReport } from "../../bench/report.ts";

const MACHINE = {
  cpu: "Fast & Cheap(R) CPU",
  cores: 2,
  memoryGiB: 8,
  bun: "1",
  librdkafka: "2",
  postgres: "18",
  kafka: "4",
};
const costs = {
  clientCpuMicrosPerEvent: 2,
  postgresCpuMicrosPerEvent: 5,
  brokerCpuMicrosPerEvent: 0.5,
  rssMiB: 250,
};
const round = (eventsPerSecond: number) => ({
  consumer: { eventsPerSecond, ...costs },
  unnest: { eventsPerSecond: eventsPerSecond / 2, ...costs },
  copy: { eventsPerSecond: eventsPerSecond * 2, clientCpuMicrosPerEvent: 1, postgresCpuMicrosPerEvent: 5 },
});
const step = (rows: number, eventsPerSecond: number) => ({
  rows,
  eventsPerSecond,
  ...costs,
  walBytesPerEvent: 500,
});
const load = (ratePerSecond: number, p99Ms: number) => ({
  ratePerSecond,
  eventsPerSecond: ratePerSecond,
  samples: 9,
  p50Ms: 10,
  p90Ms: 20,
  p99Ms,
});
const REPORT: BenchReport = {
  machine: MACHINE,
  drain: {
    events: 1000,
    workers: 2,
    eventsPerSecond: { consumer: 200_000, unnest: 100_000, copy: 400_000 },
    ratioToCopy: 0.5,
    ...costs,
    rounds: [round(190_000), round(200_000), round(220_000)],
  },
  latency: { maximumPerSecond: 200_000, loads: [load(1000, 40), load(10_000, 60), load(100_000, 120)] },
  growth: {
    eventsPerStep: 1_000_000,
    timeLed: [step(0, 200_000), step(1_000_000, 198_000)],
    random: [step(0, 180_000), step(1_000_000, 90_000)],
    users: [1000, 1_000_000].map((users) => ({ users, eventsPerSecond: 200_000, ...costs })),
  },
};

/** The texts of a picture, and an error where it is no XML. */
function textsOf(svg: string): string[] {
  const texts: string[] = [];
  const open: string[] = [];
  for (const [, closing, name, selfClosing, text] of svg.matchAll(
    /<(\/?)([a-z]+)(?: [a-zA-Z0-9-]+="[^"<]*")*(\/?)>([^<]*)/g,
  )) {
    if (closing !== "") expect(name).toBe(open.pop());
    else if (selfClosing === "") open.push(name!);
    if (name === "text" && closing === "") texts.push(text!);
  }
  expect(open).toEqual([]);
  return texts;
}

describe("the picture of a report", () => {
  test("shows the median of each variant, and the charts of the scenarios that ran", () => {
    const texts = textsOf(pictureOf(REPORT, "2026-01-31"));
    expect(texts).toContain("bun run bench, 2026-01-31");
    for (const value of ["200,000", "100,000", "400,000"]) expect(texts).toContain(value);
    for (const name of [
      "Latency under load",
      "p99",
      "random UUIDs",
      "Growth of the users of an hour: cost",
    ]) {
      expect(texts).toContain(name);
    }
    const { drain: _, ...withoutDrain } = REPORT;
    expect(textsOf(pictureOf(withoutDrain, "2026-01-31"))).not.toContain("Draining a full topic");
  });

  test("escapes what a processor is called", () => {
    expect(pictureOf(REPORT, "2026-01-31")).toContain("Fast &amp; Cheap(R) CPU");
    expect(label('<a & "b">', { x: 1.26 })).toBe('<text x="1.3">&lt;a &amp; &quot;b&quot;&gt;</text>');
    expect(element("line", { stroke: '"' })).toBe('<line stroke="&quot;"/>');
  });

  test("keeps every point within its axes, and the names of lines apart", () => {
    const series = ["a", "b", "c"].map((name) => ({
      name,
      color: "#000000",
      points: [
        [1000, 5],
        [128_000, 31],
      ] as const, // all three end at one place
    }));
    const { content, height } = lineChart({ series, xName: "events/s", isLogarithmic: true });
    const at = (pattern: RegExp) => [...content.matchAll(pattern)].map(([, value]) => Number(value));
    expect(at(/cy="([\d.]+)"/g)).toHaveLength(6);
    for (const y of at(/cy="([\d.]+)"/g)) expect(y).toBeWithin(0, height);
    const names = at(/ y="([\d.]+)" fill="#000000"/g);
    expect(names).toHaveLength(3);
    expect(names[1]! - names[0]!).toBeGreaterThanOrEqual(14);
    expect(names[2]! - names[1]!).toBeGreaterThanOrEqual(14);
  });
});

describe("the axes of a chart", () => {
  test("have four to ten round steps that reach the greatest value", () => {
    expect(ticks(35)).toEqual([0, 5, 10, 15, 20, 25, 30, 35]);
    expect(ticks(92)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticks(20_000_000)).toEqual([0, 5, 10, 15, 20].map((million) => million * 1e6));
    for (let most = 1; most < 1e6; most = most * 1.37 + 1) {
      const found = ticks(most);
      expect(found.length).toBeWithin(5, 12);
      expect(found.at(-1)!).toBeGreaterThanOrEqual(most * (1 - 1e-9));
      expect(found.at(-2)!).toBeLessThan(most);
    }
  });

  test("place equal differences, or equal factors, at equal distances", () => {
    const linear = linearScale([0, 10], [100, 200]);
    expect([0, 5, 10].map(linear)).toEqual([100, 150, 200]);
    const log = logScale([1, 100], [0, 200]);
    expect([1, 10, 100].map((value) => Math.round(log(value)))).toEqual([0, 100, 200]);
  });
});

describe("a kept report", () => {
  test("is named after date, processor and cores", () => {
    expect(machineName({ cpu: "AMD EPYC 7B13 (Milan)", cores: 2 })).toBe("amd-epyc-7b13-milan-2-cores");
  });

  test("adds to that of the same day and machine, and replaces one of other versions", async () => {
    const directory = await mkdtemp(join(tmpdir(), "kept-"));
    try {
      const atMs = Date.UTC(2026, 0, 31, 12);
      const { drain, latency, machine } = REPORT;
      const keep = (report: BenchReport) => keepReport(report, atMs, directory);
      const [json, svg] = await keep({ machine, drain: drain! });
      expect(json).toBe(join(directory, "2026-01-31-fast-cheap-r-cpu-2-cores.json"));
      await keep({ machine, latency: latency! });
      expect(await Bun.file(json!).json()).toEqual({ machine, drain, latency });
      expect(await Bun.file(svg!).text()).toBe(
        pictureOf({ machine, drain: drain!, latency: latency! }, "2026-01-31"),
      );
      const newer = { ...machine, bun: "2" };
      await keep({ machine: newer, latency: latency! });
      expect(await Bun.file(json!).json()).toEqual({ machine: newer, latency });
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
