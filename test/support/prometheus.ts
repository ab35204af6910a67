// Starts a real Prometheus with the repository's configuration and other scrape targets.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { YAML } from "bun";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { reapOnExit, removeOnExit } from "../../shared/runtime/child-reaper.ts";
import { inherited } from "./process.ts";
import { eventually } from "./eventually.ts";

/** prometheus.yml, alert_rules.yml and their tests. */
export const PROMETHEUS_DIRECTORY = resolve(import.meta.dir, "../../monitoring/prometheus");

const START_DEADLINE_MS = 30_000;
const ANSWER_DEADLINE_MS = 10_000;

export interface PrometheusOptions {
  /** host:port of producers' /metrics; the job stays, without targets, where there are none. */
  readonly producers?: readonly string[];
  /** host:port of consumers' /metrics. */
  readonly consumers?: readonly string[];
  /** Time between two scrapes, and between two evaluations of the rules; default 1000. */
  readonly scrapeIntervalMs?: number;
  /** Changes the text of alert_rules.yml, to shorten its durations. */
  readonly rules?: (text: string) => string;
}

/** A value of an instant query. */
export interface PrometheusValue {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An alert that is on, or that is about to be. */
export interface PrometheusAlert {
  readonly name: string;
  readonly state: "pending" | "firing";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A running Prometheus. Disposing stops it; so does the end of the test process. */
export interface Prometheus extends AsyncDisposable {
  /** http://127.0.0.1:port */
  readonly url: string;
  /** An instant query. @throws Error with Prometheus' own message */
  query(expression: string): Promise<PrometheusValue[]>;
  /** The alerts that are pending or firing. */
  alerts(): Promise<PrometheusAlert[]>;
  stop(): Promise<void>;
}

/** @returns why there is no Prometheus on this machine; undefined = there is */
export function whyNoPrometheus(): string | undefined {
  const missing = ["prometheus", "promtool"].filter((program) => Bun.which(program) === null);
  return missing.length === 0
    ? undefined
    : `${missing.join(" and ")} not found in PATH (Debian: apt-get install prometheus)`;
}

/**
 * Debian's Prometheus with the repository's own prometheus.yml and alert_rules.yml; targets and intervals replaced.
 * It scrapes for the first time after about 5 s, at any interval.
 * @throws Error with what Prometheus says when it does not start
 */
export async function startPrometheus(options: PrometheusOptions = {}): Promise<Prometheus> {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-prometheus-"));
  const directoryReaper = removeOnExit(directory);
  const [port] = await freePorts(1);
  const address = `127.0.0.1:${port}`;
  await writeConfiguration(directory, address, options);

  const log = join(directory, "prometheus.log");
  const server = Bun.spawn(
    [
      "prometheus",
      `--config.file=${join(directory, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=${address}`,
      "--log.level=warn",
    ],
    { cwd: directory, env: inherited("PATH", "HOME"), stdio: ["ignore", Bun.file(log), Bun.file(log)] },
  );
  const reaper = reapOnExit({ pid: server.pid, signal: "KILL" });

  async function stop(): Promise<void> {
    // A graceful stop would write out data that is no longer needed.
    server.kill("SIGKILL");
    await server.exited;
    reaper.release();
    await rm(directory, { recursive: true, force: true });
    directoryReaper.release();
  }

  const url = `http://${address}`;
  try {
    const state = await eventually(
      "Prometheus is ready",
      async () => {
        if (server.exitCode !== null) return "ended";
        return (await fetch(`${url}/-/ready`, { signal: AbortSignal.timeout(1000) })).ok && "ready";
      },
      { timeoutMs: START_DEADLINE_MS, everyMs: 50 },
    );
    if (state === "ended") throw new Error("it ended");
  } catch (error) {
    const said = await Bun.file(log).text();
    await stop();
    throw new Error(`Prometheus did not start:\n${said.trim()}`, { cause: error });
  }
  return {
    url,
    stop,
    [Symbol.asyncDispose]: stop,
    query: (expression) => query(url, expression),
    async alerts() {
      const { alerts } = await ask<{ alerts: Omit<PrometheusAlert, "name">[] }>(`${url}/api/v1/alerts`);
      return alerts.map(({ state, labels, annotations }) => ({
        name: labels["alertname"] ?? "",
        state,
        labels,
        annotations,
      }));
    },
  };
}

interface Configuration {
  global: Record<string, unknown>;
  rule_files?: string[];
  scrape_configs: Record<string, unknown>[];
}

/** The repository's files with what has to be different here; everything else stays as it is. */
async function writeConfiguration(
  directory: string,
  address: string,
  { producers = [], consumers = [], scrapeIntervalMs = 1000, rules = (text) => text }: PrometheusOptions,
): Promise<void> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- Prometheus refuses another shape
  const configuration = YAML.parse(await readConfiguration("prometheus.yml")) as Configuration;
  const interval = `${scrapeIntervalMs}ms`;
  Object.assign(configuration.global, {
    scrape_interval: interval,
    scrape_timeout: interval,
    evaluation_interval: interval,
  });
  const targets: Record<string, readonly string[]> = {
    producer: producers,
    consumer: consumers,
    prometheus: [address],
  };
  for (const job of configuration.scrape_configs) {
    const name = String(job["job_name"]);
    const replaced = targets[name];
    if (replaced === undefined) throw new Error(`prometheus.yml has a job that is unknown here: ${name}`);
    job["static_configs"] = [{ targets: replaced }];
    delete job["dns_sd_configs"];
  }
  await Bun.write(join(directory, "prometheus.yml"), YAML.stringify(configuration, null, 2));
  for (const file of configuration.rule_files ?? []) {
    await Bun.write(join(directory, file), rules(await readConfiguration(file)));
  }
}

function readConfiguration(file: string): Promise<string> {
  return Bun.file(join(PROMETHEUS_DIRECTORY, file)).text();
}

async function query(url: string, expression: string): Promise<PrometheusValue[]> {
  const data = await ask<QueryData>(
    `${url}/api/v1/query?query=${encodeURIComponent(expression)}`,
    expression,
  );
  switch (data.resultType) {
    case "vector":
      return data.result.map(({ metric, value }) => ({ labels: metric, value: readValue(value[1]) }));
    case "scalar":
      return [{ labels: {}, value: readValue(data.result[1]) }];
    case "matrix":
    case "string":
      throw new Error(`${expression}: this is a ${data.resultType}, not one value per series`);
  }
}

type QueryData =
  | { resultType: "vector"; result: { metric: Record<string, string>; value: [number, string] }[] }
  | { resultType: "scalar"; result: [number, string] }
  | { resultType: "matrix" | "string" };

function readValue(text: string): number {
  return Number(text.replace("Inf", "Infinity"));
}

/** @param what stands before the message of an error */
async function ask<Data>(address: string, what = "Prometheus"): Promise<Data> {
  const answer = await fetch(address, { signal: AbortSignal.timeout(ANSWER_DEADLINE_MS) });
  const text = await answer.text();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the form that its HTTP API documents
  const body = JSON.parse(text) as { status: "success"; data: Data } | { status: "error"; error: string };
  if (body.status === "error") throw new Error(`${what}: ${body.error}`);
  return body.data;
}
