// Checks the form of the dashboard and its provisioning, and every name in its queries against what the programs export.
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { YAML } from "bun";
import { METRICS } from "../../shared/telemetry/metrics.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { PROMETHEUS_DIRECTORY } from "../support/prometheus.ts";
import { GRAFANA_DIRECTORY, namesIn, type Panel, readDashboard } from "./dashboard.ts";

const dashboard = await readDashboard("pipeline_dashboard.json");
const panels = dashboard.panels.filter(({ type }) => type !== "row");
const titles = (some: readonly Panel[]) => some.map(({ title }) => title);

/** The last schema of the classic dashboards, and panels that are not deprecated: those of Grafana 13.2. */
const SCHEMA_VERSION = 42;
const PANEL_TYPES = ["alertlist", "bargauge", "heatmap", "stat", "state-timeline", "table", "timeseries"];
/** The units of Grafana in use here. */
const UNITS = ["none", "short", "locale", "percentunit", "s", "bytes", "Bps", "eps", "ops", "rowsps"];

describe("dashboard", () => {
  test("has the current schema, and no deprecated panel", () => {
    expect(dashboard).toMatchObject({
      schemaVersion: SCHEMA_VERSION,
      uid: "event-pipeline",
      graphTooltip: 1,
    });
    expect(panels.filter(({ type }) => !PANEL_TYPES.includes(type))).toEqual([]);
  });

  test("gives every panel its own id and title, a description, a unit and thresholds", () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
    expect(new Set(titles(panels)).size).toBe(panels.length);
    expect(titles(panels.filter(({ description = "" }) => description.length < 20))).toEqual([]);
    const withFields = panels.filter(({ type }) => type !== "alertlist" && type !== "heatmap");
    const unitOf = ({ fieldConfig }: Panel) => fieldConfig?.defaults.unit ?? "missing";
    expect(titles(withFields.filter((panel) => !UNITS.includes(unitOf(panel))))).toEqual([]);
    expect(titles(withFields.filter((panel) => !panel.fieldConfig?.defaults.thresholds))).toEqual([]);
    const lines = panels.filter(({ type }) => type === "timeseries");
    expect(titles(lines.filter(({ options }) => options?.legend?.showLegend !== true))).toEqual([]);
  });

  test("places no panel on another or outside of the 24 columns", () => {
    const taken = new Map<string, string>();
    const clashes = dashboard.panels.flatMap(({ title, gridPos: { x, y, w, h } }) => {
      const cells = Array.from(
        { length: w * h },
        (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`,
      );
      const under = cells.map((cell) => taken.get(cell)).find((found) => found !== undefined);
      for (const cell of cells) taken.set(cell, title);
      return [
        ...(under === undefined ? [] : [`${title} on ${under}`]),
        ...(x + w > 24 ? [`${title} sticks out`] : []),
      ];
    });
    expect(clashes).toEqual([]);
  });

  test("overrides only series of the same panel", () => {
    const strangers = panels.flatMap(({ title, targets = [], fieldConfig }) => {
      const legends = targets.map(({ legendFormat = "" }) => legendFormat);
      const named = fieldConfig!.overrides.filter(({ matcher }) => matcher.id === "byName");
      // Names from labels and the columns of a table are known only while the pipeline runs.
      if (legends.some((legend) => legend === "" || legend.includes("{{"))) return [];
      return named
        .filter(({ matcher }) => !legends.includes(matcher.options))
        .map(({ matcher }) => `${title}: ${matcher.options}`);
    });
    expect(strangers).toEqual([]);
  });

  test("takes its data sources from variables that start at the provisioned ones", async () => {
    const { datasources } = await provisioned();
    const variables = dashboard.templating.list.filter(({ type }) => type === "datasource");
    expect(
      variables.map(({ query, current }) => ({ type: query, name: current.text, uid: current.value })),
    ).toEqual(datasources.map(({ type, name, uid }) => ({ type, name, uid })));

    const known = variables.map(({ name, query }) => ({ type: query as string, uid: `\${${name}}` }));
    const sources = panels.flatMap(({ datasource, targets = [] }) => [
      datasource!,
      ...targets.map((target) => target.datasource),
    ]);
    for (const source of sources) expect(known).toContainEqual(source);
    const alerts = panels.find(({ type }) => type === "alertlist");
    expect(alerts?.options?.datasource).toBe(datasources[0]!.name);
  });
});

test("the data source has the scrape interval of Prometheus", async () => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of another shape fails below
  const { global } = YAML.parse(await Bun.file(join(PROMETHEUS_DIRECTORY, "prometheus.yml")).text()) as {
    global: { scrape_interval: string };
  };
  const [prometheus] = (await provisioned()).datasources;
  expect(prometheus?.jsonData["timeInterval"]).toBe(global.scrape_interval);
});

async function provisioned() {
  const text = await Bun.file(`${GRAFANA_DIRECTORY}/provisioning/datasources/datasources.yaml`).text();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of another shape fails the tests above
  return YAML.parse(text) as {
    datasources: { name: string; uid: string; type: string; jsonData: Record<string, unknown> }[];
  };
}

/** Labels that Prometheus itself puts on what it scrapes. */
const TARGET_LABELS = ["job", "instance"];
/** Metrics of Prometheus itself, with their labels. */
const OWN: Record<string, readonly string[]> = {
  up: [],
  ALERTS: ["alertname", "alertstate", "severity"],
};

/** Labels of everything that the programs export, by the name of the series. */
async function exported(): Promise<Map<string, readonly string[]>> {
  const text = await new MetricsRegistry({ processMetrics: true }).text();
  const labels: Record<string, readonly string[]> = Object.fromEntries(
    Object.entries(METRICS).map(([name, metric]) => [name, metric.labels]),
  );
  const found = new Map(Object.entries(OWN));
  for (const [, name = "", type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const own = labels[name] ?? [];
    if (type === "histogram") {
      found
        .set(`${name}_bucket`, [...own, "le"])
        .set(`${name}_sum`, own)
        .set(`${name}_count`, own);
    } else found.set(name, own);
  }
  return found;
}

/** Every PromQL text of the dashboard, with its place. */
function expressions(): { where: string; expression: string }[] {
  const variables = dashboard.templating.list.flatMap(({ name, type, query }) => {
    const text = typeof query === "string" ? query : query.query;
    const [, expression] = /^label_values\((.*), \w+\)$/.exec(text) ?? [];
    return type === "query" ? [{ where: `variable ${name}`, expression: expression ?? text }] : [];
  });
  const annotations = dashboard.annotations.list.flatMap(({ name, expr }) =>
    expr === undefined ? [] : [{ where: `annotation ${name}`, expression: expr }],
  );
  const queries = panels.flatMap(({ title, targets = [] }) =>
    targets.flatMap(({ refId, expr }) =>
      expr === undefined ? [] : [{ where: `${title} ${refId}`, expression: expr }],
    ),
  );
  return [...variables, ...annotations, ...queries];
}

test("the queries name only metrics that are exported, and labels that these have", async () => {
  const known = await exported();
  const wrong = expressions().flatMap(({ where, expression }) => {
    const { uses, grouping } = namesIn(expression);
    const strangers = uses.filter(({ metric }) => !known.has(metric)).map(({ metric }) => metric);
    const labels = uses.flatMap(({ metric, labels: asked }) =>
      asked.filter((label) => ![...TARGET_LABELS, ...(known.get(metric) ?? [])].includes(label)),
    );
    const all = [...TARGET_LABELS, ...uses.flatMap(({ metric }) => known.get(metric) ?? [])];
    const groups = grouping.filter((label) => !all.includes(label));
    return [...strangers, ...labels, ...groups].map((name) => `${where}: ${name}`);
  });
  expect(wrong).toEqual([]);
  expect(expressions().flatMap(({ expression }) => namesIn(expression).uses).length).toBeGreaterThan(50);
});
