// Checks that the alert rules are valid, name what exists and are explained, and that the test of each can fail.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { YAML } from "bun";
import { initializeSeries } from "../../shared/telemetry/initial-series.ts";
import { ALERT_SEVERITIES, METRICS } from "../../shared/telemetry/metrics.ts";
import { MetricsRegistry, PROCESS_METRICS } from "../../shared/telemetry/registry.ts";
import { loadConfig } from "../../shared/config/config.ts";
import { setAlertThresholds } from "../../workers/consumer/pipeline-metrics.ts";
import { Scrape } from "../support/metrics-text.ts";
import { PROMETHEUS_DIRECTORY } from "../support/prometheus.ts";
import { prometheusTest } from "../support/requirements.ts";
import { groupingLabels, selectors } from "./promql.ts";
import { EXPLAINED_ALERTS, expectedAlerts, OWN_ALERTS, RUNBOOK_LINKS, RUNBOOK_SECTIONS } from "./runbook.ts";

// promtool runs a dozen times for each rule.
setDefaultTimeout(120_000);

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}
type AlertRule = Rule & { readonly alert: string };

/** What Prometheus adds to each sample of a scrape. */
const TARGET_LABELS = ["job", "instance"];

const rules = (await readYaml<{ groups: { rules: Rule[] }[] }>("alert_rules.yml")).groups.flatMap(
  (group) => group.rules,
);
const alerts = rules.filter((rule): rule is AlertRule => rule.alert !== undefined);
const recorded = rules.flatMap(({ record }) => record ?? []);
// As text: values such as 0x120, which promtool reads as 121 zeros, are numbers to a YAML parser.
const [, ...ruleTests] = (await Bun.file(join(PROMETHEUS_DIRECTORY, "alert_rules_test.yml")).text()).split(
  /^(?= {2}- name: )/m,
);

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "event-pipeline-rules-"));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

async function readYaml<T>(file: string): Promise<T> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- promtool refuses files of another shape
  return YAML.parse(await Bun.file(join(PROMETHEUS_DIRECTORY, file)).text()) as T;
}

async function promtool(...args: string[]): Promise<{ exitCode: number; output: string }> {
  const child = Bun.spawn(["promtool", ...args], {
    cwd: PROMETHEUS_DIRECTORY,
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, output: `${stdout}${stderr}` };
}

/** Every way in which a rule can be wrong and still be valid, one at a time. */
function damaged(rule: AlertRule): { damage: string; rule: Rule }[] {
  const { expr, for: duration } = rule;
  const { for: _, ...immediate } = rule;
  const limits = [...expr.matchAll(/ [<>] /g)].map(({ index, 0: operator }) => ({
    damage: `not strict: …${expr.slice(index).split("\n", 1)[0]}`,
    rule: { ...rule, expr: `${expr.slice(0, index)}${operator.trimEnd()}= ${expr.slice(index + 3)}` },
  }));
  return [
    { damage: "never true", rule: { ...rule, expr: `(${expr}) and on () vector(1) < 0` } },
    { damage: "always true", rule: { ...rule, expr: `(${expr}) or on () vector(1)` } },
    ...(duration === undefined ? [] : [{ damage: "too early", rule: immediate }]),
    { damage: "too late", rule: { ...rule, for: `${Number.parseInt(duration ?? "0") + 2}m` } },
    ...limits,
  ];
}

describe("alert rules", () => {
  prometheusTest("are valid with the configuration, and their tests pass", async () => {
    const results = await Promise.all([
      promtool("check", "config", "prometheus.yml"),
      promtool("check", "rules", "alert_rules.yml"),
      promtool("test", "rules", "alert_rules_test.yml"),
    ]);
    for (const { exitCode, output } of results) expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
  });

  test("name only metrics that are exported, with those labels", async () => {
    const contracts: Readonly<
      Record<string, { readonly type: string; readonly labels: readonly string[] } | undefined>
    > = METRICS;
    const labelsOf = (metric: string): readonly string[] | undefined => {
      if (metric === "up" || PROCESS_METRICS.has(metric)) return [];
      if (recorded.includes(metric))
        return [...groupingLabels(rules.find(({ record }) => record === metric)!.expr)];
      const contract = contracts[metric];
      if (contract !== undefined) return contract.type === "histogram" ? undefined : contract.labels;
      const [, base = "", part] = /^(.*)_(bucket|sum|count)$/.exec(metric) ?? [];
      const histogram = contracts[base];
      if (histogram?.type !== "histogram") return undefined;
      return part === "bucket" ? [...histogram.labels, "le"] : histogram.labels;
    };
    const unknown: string[] = [];
    for (const { alert, record, expr } of rules) {
      const found = selectors(expr);
      expect({ alert, record, selectors: found.length }).not.toMatchObject({ selectors: 0 });
      const labels = new Set(TARGET_LABELS);
      for (const { metric, matchers } of found) {
        const exported = labelsOf(metric);
        if (exported === undefined) unknown.push(`${alert ?? record}: ${metric}`);
        for (const label of exported ?? []) labels.add(label);
        for (const { label } of matchers) {
          if (![...TARGET_LABELS, ...(exported ?? [])].includes(label))
            unknown.push(`${alert ?? record}: ${metric}{${label}}`);
        }
      }
      for (const label of groupingLabels(expr)) {
        if (!labels.has(label)) unknown.push(`${alert ?? record}: by ${label}`);
      }
    }
    expect(unknown).toEqual([]);
  });

  test("name only label values that a consumer exports from its first scrape", async () => {
    const metrics = new MetricsRegistry({ program: "consumer" });
    initializeSeries(metrics, ["user-events"]);
    setAlertThresholds(metrics, loadConfig({}, "consumer").monitoring);
    const scrape = new Scrape(await metrics.text());
    const missing: string[] = [];
    let compared = 0;
    for (const { alert, expr } of alerts) {
      for (const { metric, matchers } of selectors(expr)) {
        for (const { label, value } of matchers.filter((matcher) => matcher.label !== "job")) {
          compared++;
          if (scrape.find(metric, { [label]: value }).length === 0)
            missing.push(`${alert}: ${metric}{${label}="${value}"}`);
        }
      }
    }
    expect(missing).toEqual([]);
    expect(compared).toBeGreaterThan(8);
  });

  test("have a severity, a summary, a description with the value, and a section in the runbook each", () => {
    const names = alerts.map(({ alert }) => alert);
    expect(EXPLAINED_ALERTS.toSorted()).toEqual(names.toSorted());
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toMatch(/^(?:[A-Z][a-z]+)+$/);
      expect(labels).toEqual({ severity: expect.stringMatching(/^(?:warning|critical)$/) });
      expect(annotations).toEqual({
        summary: expect.stringMatching(/^[A-Z]/),
        description: expect.stringContaining("$value"),
        runbook_url: `monitoring/RUNBOOK.md#${alert.toLowerCase()}`,
      });
      for (const part of ["**Means**", "**Look at**", "**Do**"]) {
        expect(RUNBOOK_SECTIONS.get(alert)).toContain(part);
      }
    }
  });
});

describe("test of the rule", () => {
  for (const alert of alerts) {
    prometheusTest(`${alert.alert} fails when the rule is changed in any way`, async () => {
      const tests = ruleTests.filter((one) => new RegExp(`^ {2}- name: ${alert.alert}\\b`).test(one));
      const records = rules.filter(({ record }) => record !== undefined);
      const passes = async (rule: Rule, variant: string) => {
        const ruleFile = join(directory, `${alert.alert}_${variant}.yml`);
        const testFile = join(directory, `${alert.alert}_${variant}_test.yml`);
        const group = { name: "one", rules: [...records, rule] };
        await Bun.write(ruleFile, YAML.stringify({ groups: [group] }, null, 2));
        await Bun.write(
          testFile,
          [`rule_files: [${ruleFile}]`, "evaluation_interval: 30s", "tests:", ...tests].join("\n"),
        );
        const { exitCode, output } = await promtool("test", "rules", testFile);
        // Any other fault would look like a test that fails.
        expect(output).toMatch(exitCode === 0 ? /SUCCESS/ : /exp:/);
        return exitCode === 0;
      };
      expect({ undamaged: await passes(alert, "undamaged") }).toEqual({ undamaged: true });
      const unnoticed = await Promise.all(
        damaged(alert).map(async ({ damage, rule }, index) =>
          (await passes(rule, String(index))) ? [damage] : [],
        ),
      );
      expect(unnoticed.flat()).toEqual([]);
    });
  }
});

describe("alerts", () => {
  test("of the programs themselves are explained in the runbook", () => {
    expect(OWN_ALERTS).toEqual(Object.keys(ALERT_SEVERITIES));
  });

  test("have the names that the links and the faults of the runbook use", () => {
    const names = alerts.map(({ alert }) => alert);
    const anchors = names.map((name) => name.toLowerCase());
    expect(RUNBOOK_LINKS.filter((anchor) => !anchors.includes(anchor))).toEqual([]);
    const faults = [...RUNBOOK_SECTIONS.keys()].filter((title) => !EXPLAINED_ALERTS.includes(title));
    expect(faults.length).toBe(3);
    for (const fault of faults) {
      expect(expectedAlerts(fault).filter((alert) => !names.includes(alert))).toEqual([]);
    }
  });
});
