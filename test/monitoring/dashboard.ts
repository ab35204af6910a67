// Reads a dashboard's JSON, and fills in its queries as Grafana would before it sends them.
import { resolve } from "node:path";

/** monitoring/grafana: provisioning and dashboards. */
export const GRAFANA_DIRECTORY = resolve(import.meta.dir, "../../monitoring/grafana");

export interface DataSourceRef {
  readonly type: string;
  readonly uid: string;
}

/** A query of Prometheus (expr) or of PostgreSQL (rawSql). */
export interface Target {
  readonly refId: string;
  readonly datasource: DataSourceRef;
  readonly format: "time_series" | "table" | "heatmap";
  readonly expr?: string;
  readonly legendFormat?: string;
  readonly instant?: boolean;
  readonly rawSql?: string;
}

interface FieldDefaults {
  readonly unit?: string;
  readonly thresholds?: { readonly steps: readonly unknown[] };
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: DataSourceRef;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: {
    readonly defaults: FieldDefaults;
    readonly overrides: readonly {
      readonly matcher: { readonly id: string; readonly options: string };
      readonly properties: readonly { readonly id: string; readonly value: unknown }[];
    }[];
  };
  readonly options?: {
    readonly legend?: { readonly showLegend?: boolean };
    readonly datasource?: string;
  };
  readonly targets?: readonly Target[];
  /** The shortest step of its queries, such as 30s. */
  readonly interval?: string;
  /** The time that it shows instead of the dashboard's, such as 24h. */
  readonly timeFrom?: string;
}

export interface Variable {
  readonly name: string;
  readonly type: "datasource" | "query";
  readonly query: string | { readonly query: string };
  readonly current: { readonly text: unknown; readonly value: unknown };
}

export interface Annotation {
  readonly name: string;
  readonly datasource: DataSourceRef;
  readonly expr?: string;
  readonly titleFormat?: string;
}

export interface Dashboard {
  readonly schemaVersion: number;
  readonly time: { readonly from: string; readonly to: string };
  readonly annotations: { readonly list: readonly Annotation[] };
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
}

/** @param name its file below dashboards/ */
export async function readDashboard(name: string): Promise<Dashboard> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a file of another shape fails the tests
  return (await Bun.file(`${GRAFANA_DIRECTORY}/dashboards/${name}`).json()) as Dashboard;
}

export interface Surroundings {
  /** Values of the dashboard's own variables. */
  readonly variables: Readonly<Record<string, readonly string[]>>;
  readonly from: Date;
  readonly to: Date;
  /** Time between two scrapes, the data source's timeInterval; s. */
  readonly scrapeIntervalSeconds: number;
}

/** Seconds of a duration such as 30s, 24h. */
export function secondsOf(duration: string): number {
  const match = /^(?<count>\d+)(?<unit>[smhd])$/.exec(duration);
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[match?.groups?.["unit"] ?? ""];
  if (seconds === undefined) throw new Error(`not a duration: ${duration}`);
  return Number(match!.groups!["count"]) * seconds;
}

/** The step of a panel's range queries; s. */
export function stepOf(panel: Pick<Panel, "interval">, { scrapeIntervalSeconds }: Surroundings): number {
  return Math.max(scrapeIntervalSeconds, panel.interval === undefined ? 0 : secondsOf(panel.interval));
}

/**
 * Fills in the variables of a PromQL text, as Grafana's data source does.
 * @throws Error that names a variable that does not exist
 */
export function promql(
  text: string,
  panel: Pick<Panel, "interval" | "title">,
  surroundings: Surroundings,
): string {
  const { from, to, scrapeIntervalSeconds: scrape, variables } = surroundings;
  const step = stepOf(panel, surroundings);
  const builtIn: Record<string, string> = {
    __interval: `${step}s`,
    __rate_interval: `${Math.max(step + scrape, 4 * scrape)}s`,
    __range: `${Math.round((to.getTime() - from.getTime()) / 1000)}s`,
    __from: String(from.getTime()),
    __to: String(to.getTime()),
  };
  return text.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced: string | undefined, bare: string) => {
    const name = braced ?? bare;
    const values = variables[name];
    const value = builtIn[name] ?? (values === undefined ? undefined : asRegex(values));
    if (value === undefined) throw new Error(`${panel.title}: there is no variable ${name}`);
    return value;
  });
}

/** Several values become alternatives; each is escaped for a regular expression in a PromQL string. */
function asRegex(values: readonly string[]): string {
  const escaped = values.map((value) =>
    value.replaceAll("\\", String.raw`\\\\`).replaceAll(/[$^*{}[\]'+?.()|]/g, String.raw`\\$&`),
  );
  return escaped.length === 1 ? escaped[0]! : `(${escaped.join("|")})`;
}

/**
 * Fills in Grafana's macros in an SQL text.
 * @throws Error that names a macro or variable unknown here
 */
export function sqlOf(text: string, panel: Pick<Panel, "title">, { from, to }: Surroundings): string {
  const filled = text
    .replaceAll(
      /\$__timeFilter\(([^)]*)\)/g,
      (_, column: string) => `${column} BETWEEN '${from.toISOString()}' AND '${to.toISOString()}'`,
    )
    .replaceAll("$__timeFrom()", `'${from.toISOString()}'`)
    .replaceAll("$__timeTo()", `'${to.toISOString()}'`);
  const left = /\$\w+/.exec(filled);
  if (left !== null) throw new Error(`${panel.title}: unknown macro ${left[0]}`);
  return filled;
}

const QUIET = / or vector\(0\)|(?: > 0)?\nor on \(\) label_replace\(vector\(0\), "\w+", "none", "", ""\)/g;

/** A query without its fallback of 0, so that only exported metrics give data. */
export function withoutFallback(expression: string): string {
  return expression.replaceAll(QUIET, "");
}

/** A metric in a PromQL text, with the labels of its selectors. */
export interface Use {
  readonly metric: string;
  readonly labels: readonly string[];
}

const WORDS = new Set(["or", "and", "unless", "bool", "offset"]);

/** The names in a PromQL text with variables: metrics with the labels of their selectors, and grouping labels. */
export function namesIn(expression: string): { uses: readonly Use[]; grouping: readonly string[] } {
  const grouping: string[] = [];
  const bare = expression
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g, (_, labels: string) => {
      grouping.push(...namesOf(labels));
      return " ";
    })
    .replaceAll(/\[[^\]]*\]/g, " ")
    .replaceAll(/\$\w+/g, "0");
  const uses = [...bare.matchAll(/(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?/g)].flatMap(
    ([, name = "", after]) => {
      if (after === "(" || WORDS.has(name)) return [];
      return [{ metric: name, labels: namesOf((after ?? "").replaceAll('""', "")) }];
    },
  );
  return { uses, grouping };
}

function namesOf(text: string): string[] {
  return text.match(/[a-zA-Z_]\w*/g) ?? [];
}
