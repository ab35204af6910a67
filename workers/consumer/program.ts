// Runs the consumer program, which moves records from Kafka into raw events, hours and dead letters in PostgreSQL.

import { startHttpServer } from "../../shared/http/server.ts";
import { ensureTopics, whyUnidentified } from "../../shared/kafka/admin.ts";
import { Client } from "../../shared/kafka/client.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings, consumerSettings } from "../../shared/kafka/settings.ts";
import { type Config, describeConfig, loadConfig } from "../../shared/config/config.ts";
import { FatalError } from "../../shared/runtime/errors.ts";
import { Resources } from "../../shared/runtime/resources.ts";
import { runProgram } from "../../shared/runtime/run-program.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { setBuildInfo } from "../../shared/telemetry/build-info.ts";
import { initializeSeries } from "../../shared/telemetry/initial-series.ts";
import { type Logger, makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { readinessOf } from "../problem.ts";
import { Alerting, consumerProbe } from "../alerting.ts";
import { ConsumerHealth } from "./health.ts";
import { Housekeeping } from "./housekeeping.ts";
import { makeConsumerConsole } from "../console/consumer-console.ts";
import { sampleMetrics, setAlertThresholds } from "./pipeline-metrics.ts";
import { OwnershipWatch } from "./ownership-watch.ts";
import { ProgressLog } from "./progress-log.ts";
import { Supervisor } from "./supervisor.ts";

const USAGE = `Usage: bun run workers/consumer.ts [--help]

Reads events from Kafka and stores them in PostgreSQL, each exactly once: raw events, hourly aggregations,
dead letters. Configured by environment variables (see config.example.env); serves a page to watch it, /metrics,
/healthz and /readyz on METRICS_PORT_CONSUMER. The first SIGINT or SIGTERM drains, the second stops at once.

Exit code: 0 drained, 1 failed, 2 wrong configuration or usage.
`;

let running: Alerting | undefined;
const onCrash = async (error: unknown): Promise<void> => await running?.crashed(error);

await runProgram({ usage: USAGE, onCrash }, async (stop) => {
  const config = loadConfig(process.env, "consumer");
  const log = makeLogger("consumer", config.logLevel);
  log.info(describeConfig(config, "consumer"), "starting");
  for (const warning of config.warnings) log.warn(warning);
  const metrics = new MetricsRegistry({ program: "consumer", processMetrics: true });
  initializeSeries(metrics, config.kafka.topics);
  const alerting = new Alerting("consumer", config.monitoring, log, metrics);
  running = alerting;
  return await alerting.runWithAlerts(() => consume(config, log, stop, metrics, alerting));
});

async function consume(
  config: Config,
  log: Logger,
  stop: StopSignal,
  metrics: MetricsRegistry,
  alerting: Alerting,
): Promise<number> {
  await using resources = new Resources((problem) => log.warn(problem));
  const housekeeping = new Housekeeping(config, log, metrics);
  let supervisor: Supervisor | undefined;
  const health = new ConsumerHealth(() => ({
    workers: supervisor?.workers(),
    databaseFault: housekeeping.fault,
    isStopping: stop.isRequested,
  }));
  alerting.poll(consumerProbe({ monitoring: config.monitoring, metrics, problems: health.problems }));
  const { monitoring } = config;
  const webConsole =
    monitoring.console === "off"
      ? undefined
      : makeConsumerConsole({
          config,
          metrics,
          supervisor: () => supervisor,
          problems: health.problems,
          alerts: () => alerting.recent(),
        });
  const server = await startHttpServer({
    port: monitoring.consumerPort,
    host: monitoring.httpHost,
    access: monitoring.access,
    portVariable: "METRICS_PORT_CONSUMER",
    metrics: async () => ({ body: await metrics.text(), contentType: metrics.contentType }),
    ready: () => readinessOf(health.problems()),
    app: webConsole?.mount,
  });
  resources.defer("the HTTP server", 3000, () => server.stop());
  resources.defer("the console", 3000, async () => await webConsole?.close());
  const consoleUrl = webConsole === undefined ? "off" : server.url;
  log.info({ port: server.port, console: consoleUrl }, "serving /metrics, /healthz and /readyz");

  const library = await stop.orStopped(prepareNativeLibrary((line) => log.info(line)));
  if (library === undefined) return 0;
  setBuildInfo(metrics, library.version);
  setAlertThresholds(metrics, config.monitoring);
  // Reports properties that the workers' clients would refuse once, before anything is waited for.
  Client.create("consumer", consumerSettings(config.kafka), 0).destroy();

  resources.defer("the connection to PostgreSQL", 3000, () => housekeeping.close());
  // A server that accepts the connection and never answers must not delay the exit.
  if (!(await stop.orStopped(housekeeping.prepare(stop)))) return 0;
  const topics = await stop.orStopped(
    ensureTopics({
      settings: adminSettings(config.kafka),
      topics: config.kafka.topics,
      partitions: config.kafka.partitions,
      replicationFactor: config.kafka.replicationFactor,
      deadlineMs: 20_000,
    }),
  );
  if (topics === undefined) return 0;
  log.info(
    { topics: topics.map(({ topic, partitions }) => `${topic} (${partitions.length} partitions)`) },
    "reading from Kafka",
  );

  const withoutId = topics.filter((topic) => whyUnidentified(topic) !== undefined);
  for (const topic of withoutId) log.warn(whyUnidentified(topic));
  supervisor = new Supervisor(
    config,
    log,
    metrics,
    withoutId.map(({ topic }) => topic),
  );
  housekeeping.start(() => sampleMetrics(metrics));
  const ownership = await OwnershipWatch.open({
    settings: adminSettings(config.kafka),
    group: config.kafka.consumerGroup,
    topics: config.kafka.topics,
    onUnowned: (partitions) => {
      const names = partitions.map(({ topic, partition }) => `${topic}[${partition}]`);
      const worker = supervisor?.rejoin();
      log.warn(
        { worker, partitions: names },
        "no member of the group has these partitions: joining it again",
      );
    },
  });
  resources.defer("the watch over the group", 3000, () => ownership.close());
  const progress = new ProgressLog(metrics, log);
  progress.start();
  const failure = await Promise.race([
    supervisor.failed,
    stop.requested.then((signal) => {
      log.info({ signal }, "draining: committing what was read");
      return undefined;
    }),
  ]);
  housekeeping.stop();
  if (failure !== undefined) alerting.failed(failure);
  const drainProblems = await supervisor.drain();
  for (const problem of drainProblems) log.error(problem);
  // After a failed drain the database may not answer, which would delay the exit.
  if (drainProblems.length === 0) await housekeeping.runOnce(sampleMetrics(metrics));
  progress.finish();
  if (failure !== undefined) throw new FatalError(failure);
  if (drainProblems.length > 0) throw new FatalError(drainProblems.join("; "));
  return 0;
}
