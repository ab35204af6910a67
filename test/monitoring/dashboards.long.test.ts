// Asks a running pipeline every query of the dashboard, as Grafana would, and expects data.
import { describe, expect } from "bun:test";
import { errorMessage } from "../../shared/runtime/errors.ts";
import { eventually } from "../support/eventually.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startProducer } from "../support/process.ts";
import { type Prometheus, startPrometheus } from "../support/prometheus.ts";
import { monitoringTest } from "../support/requirements.ts";
import { BAD_RECORDS } from "../integration/bad-records.ts";
import {
  type Panel,
  promql,
  readDashboard,
  secondsOf,
  sqlOf,
  stepOf,
  type Surroundings,
  type Target,
  withoutFallback,
} from "./dashboard.ts";

const dashboard = await readDashboard("pipeline_dashboard.json");
const panels = dashboard.panels.filter(({ type }) => type !== "row");

/** Panels that may show 0 all the time while nothing is wrong. All other panels have something to show below. */
const QUIET = new Set([
  "Lag",
  "How near the thresholds are",
  "Lag per partition",
  "Lag per topic",
  "Kafka errors",
  "Rebalances",
  "Deleted offsets",
  "Alerts raised by the programs",
  "Workers paused",
  "Rows past their retention",
  "Retention behind",
]);

const SCRAPE_SECONDS = 1;
/** A rate needs two scrapes, and an alert an evaluation of the rules: seconds, on any machine. */
const ANSWER_DEADLINE_MS = 60_000;
const ALERT = `
groups:
  - name: test
    rules:
      - { alert: ConsumerIsUp, expr: 'up{job="consumer"} == 1', labels: { severity: warning } }
`;

describe("dashboard", () => {
  monitoringTest(
    "has data of a running pipeline for every query",
    async () => {
      await using pipeline = await TestPipeline.start({
        env: { FLUSH_INTERVAL_SECONDS: "1", RETENTION_DAYS: "10000", PIPELINE_METRICS_RETENTION_DAYS: "1" },
      });
      const consumer = pipeline.consumer();
      await using producer = startProducer(pipeline, { PRODUCER_RATE: "300", PRODUCER_USER_COUNT: "50" });
      const producerPort = await producer.port();
      const consumerAddress = `127.0.0.1:${await consumer.port()}`;
      // Once before the first scrape: Prometheus sees no increase in the first sample of a series.
      await disturb(pipeline, 1);
      await using prometheus = await startPrometheus({
        producers: [`127.0.0.1:${producerPort}`],
        consumers: [consumerAddress],
        scrapeIntervalMs: SCRAPE_SECONDS * 1000,
        rules: () => ALERT,
      });
      await pipeline.until(
        "both programs were scraped",
        async () => (await prometheus.query("up == 1")).length === 3,
      );
      await disturb(pipeline, 2);

      const variables = { consumer: [consumerAddress], topic: [pipeline.topic] };
      for (const { name, query } of dashboard.templating.list.filter(({ type }) => type === "query")) {
        const wanted = variables[name as keyof typeof variables];
        await eventually(
          `the choices of ${name}`,
          async () => Bun.deepEquals(await labelValues(prometheus, query, variables), wanted),
          { timeoutMs: ANSWER_DEADLINE_MS, everyMs: 250 },
        );
      }
      const surroundings = (panel: Pick<Panel, "timeFrom">): Surroundings => {
        const seconds = secondsOf(panel.timeFrom ?? dashboard.time.from.replace("now-", ""));
        const to = new Date();
        const from = new Date(to.getTime() - seconds * 1000);
        return { variables, from, to, scrapeIntervalSeconds: SCRAPE_SECONDS };
      };

      const report: string[] = [];
      const queries = panels.flatMap((panel) => (panel.targets ?? []).map((target) => ({ panel, target })));
      for (const { panel, target } of queries) {
        const { refId, expr, rawSql } = target;
        const what = `${panel.title} ${refId}`;
        const found = await soon(what, async () => {
          const around = surroundings(panel);
          if (rawSql !== undefined) return await askPostgres(pipeline, panel, target, around);
          return await askPrometheus(prometheus, panel, { ...target, expr: expr! }, around);
        });
        report.push(`  ${what.padEnd(48)} ${found}`);
      }
      for (const { name, expr, titleFormat } of dashboard.annotations.list) {
        if (expr === undefined) continue;
        const found = await soon(`annotation ${name}`, async () => {
          const around = surroundings({});
          const series = await range(prometheus, promql(expr, { title: name }, around), around, 1);
          if (series.length === 0) throw new Error("no data");
          const missing = missingLabels(titleFormat, series);
          if (missing.length > 0) throw new Error(`no label ${missing.join(", ")} for the title`);
          return `${series.length} series`;
        });
        report.push(`  ${`annotation ${name}`.padEnd(48)} ${found}`);
      }
      process.stdout.write(`${panels.length} panels, ${queries.length} queries:\n${report.join("\n")}\n`);
    },
    300_000,
  );
});

/** Causes what happens rarely: dead letters, duplicates, late events, a new hour, a broken connection. */
async function disturb(pipeline: TestPipeline, day: number): Promise<void> {
  await pipeline.publish(500);
  const user = { event_id: `click_of_day_${day}`, user_id: "user_1", event_type: "click", event_data: {} };
  await pipeline.publishValue(JSON.stringify({ ...user, timestamp: `2025-01-0${day}T10:00:00Z` }));
  // The one of a megabyte is more than this producer sends.
  await pipeline.send(
    BAD_RECORDS.filter(({ reason }) => reason !== "too_large").map(({ value }) => ({ value })),
  );
  const stored = await pipeline.consumed();
  await pipeline.until("more is stored", async () => (await pipeline.consumed()) > stored);
  await pipeline.until("a worker's connection is ended", async () => {
    const ended = await pipeline.database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline worker%'`;
    return ended.length > 0;
  });
}

/** Asks again until it has an answer. @throws Error with the last reason against it */
async function soon(what: string, ask: () => Promise<string>): Promise<string> {
  let reason: unknown;
  const keep = (error: unknown) => {
    reason = error;
    return undefined;
  };
  try {
    return await eventually(what, () => ask().catch(keep), { timeoutMs: ANSWER_DEADLINE_MS, everyMs: 250 });
  } catch {
    throw new Error(`${what}: ${errorMessage(reason)}`, { cause: reason });
  }
}

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  readonly values: readonly number[];
}

/** A range query, or with `to` alone an instant one. */
async function range(
  { url }: Prometheus,
  query: string,
  { from, to }: Surroundings,
  stepSeconds: number | undefined,
): Promise<Series[]> {
  const times: Record<string, string> =
    stepSeconds === undefined
      ? { time: String(to.getTime() / 1000) }
      : { start: String(from.getTime() / 1000), end: String(to.getTime() / 1000), step: String(stepSeconds) };
  const path = stepSeconds === undefined ? "query" : "query_range";
  const answer = await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    body: new URLSearchParams({ query, ...times }),
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the form that its HTTP API documents
  const body = (await answer.json()) as {
    error?: string;
    data: {
      result: { metric: Record<string, string>; value?: [number, string]; values?: [number, string][] }[];
    };
  };
  if (body.error !== undefined) throw new Error(`${query}: ${body.error}`);
  return body.data.result.map(({ metric, value, values = value === undefined ? [] : [value] }) => ({
    labels: metric,
    values: values.map(([, text]) => Number(text)).filter((number) => !Number.isNaN(number)),
  }));
}

/** @returns a summary of the answer. @throws Error that names what is missing */
async function askPrometheus(
  prometheus: Prometheus,
  panel: Panel,
  target: Target & { readonly expr: string },
  surroundings: Surroundings,
): Promise<string> {
  const step = target.instant === true ? undefined : stepOf(panel, surroundings);
  const ask = (expression: string) =>
    range(prometheus, promql(expression, panel, surroundings), surroundings, step);
  const shown = (await ask(target.expr)).filter(({ values }) => values.length > 0);
  if (shown.length === 0) throw new Error("no data");
  const bare = (await ask(withoutFallback(target.expr))).filter(({ values }) => values.length > 0);
  if (bare.length === 0) throw new Error("no data beside the fallback of 0");
  const missing = missingLabels(target.legendFormat, bare);
  if (missing.length > 0) throw new Error(`no label ${missing.join(", ")} for the legend`);
  if (!QUIET.has(panel.title) && !panel.targets!.some(({ refId }) => refId < target.refId)) {
    if (!shown.some(({ values }) => values.some((value) => value > 0))) throw new Error("nothing above 0");
  }
  return `${shown.length} series, ${shown.reduce((sum, { values }) => sum + values.length, 0)} values`;
}

/** Labels that a legend shows and that a series lacks. */
function missingLabels(format = "", series: readonly Series[]): string[] {
  const labels = [...format.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
  return labels.filter((label) => series.some((one) => !(label in one.labels)));
}

/** @returns a summary of the answer. @throws Error that names what is missing */
async function askPostgres(
  { database }: TestPipeline,
  panel: Panel,
  { rawSql, format }: Target,
  surroundings: Surroundings,
): Promise<string> {
  const rows = await database.sql.unsafe(sqlOf(rawSql!, panel, surroundings));
  if (rows.length === 0) throw new Error("no rows");
  const columns = rows.columns.map(({ name }) => name);
  if (format === "time_series") expect(columns.slice(0, 2)).toEqual(["time", "metric"]);
  const strangers = panel.fieldConfig!.overrides.filter(({ matcher }) => !columns.includes(matcher.options));
  if (strangers.length > 0) throw new Error(`no column ${strangers[0]!.matcher.options}, of an override`);
  return `${rows.length} rows`;
}

/** The choices of a variable of the form label_values(selector, label). */
async function labelValues(
  prometheus: Prometheus,
  query: string | { readonly query: string },
  variables: Readonly<Record<string, readonly string[]>>,
): Promise<string[]> {
  const text = typeof query === "string" ? query : query.query;
  const [, selector = "", label = ""] = /^label_values\((.*), (\w+)\)$/.exec(text) ?? [];
  const now = new Date();
  const around = { variables, from: now, to: now, scrapeIntervalSeconds: SCRAPE_SECONDS };
  const found = await prometheus.query(promql(selector, { title: text }, around));
  return [...new Set(found.map(({ labels }) => labels[label]!))];
}
