// Runs the producer program, which publishes simulated events or lines of JSON to the first topic of KAFKA_TOPIC.
import { startHttpServer } from "../../shared/http/server.ts";
import { ensureTopics } from "../../shared/kafka/admin.ts";
import { prepareNativeLibrary } from "../../shared/kafka/native-library.ts";
import { adminSettings } from "../../shared/kafka/settings.ts";
import { type Config, describeConfig, loadConfig, type ProducerConfig } from "../../shared/config/config.ts";
import { Resources } from "../../shared/runtime/resources.ts";
import { runProgram } from "../../shared/runtime/run-program.ts";
import type { StopSignal } from "../../shared/runtime/stop-signal.ts";
import { DeliveryLedger } from "../../shared/producer/delivery-ledger.ts";
import { openInput } from "../../shared/producer/input.ts";
import {
  type RateLimiter,
  SpacedRateLimiter,
  SteadyRateLimiter,
  noRateLimit,
} from "../../shared/producer/rate-limiter.ts";
import { LineRecords, type RecordSource, simulatedRecords } from "../../shared/producer/record-source.ts";
import { EventSimulator } from "../../shared/producer/simulator.ts";
import { setBuildInfo } from "../../shared/telemetry/build-info.ts";
import { type Logger, makeLogger } from "../../shared/telemetry/log.ts";
import { MetricsRegistry } from "../../shared/telemetry/registry.ts";
import { readinessOf } from "../problem.ts";
import { Alerting, producerProbe } from "../alerting.ts";
import { makeProducerConsole } from "../console/producer-console.ts";
import { ProducerHealth } from "./health.ts";
import { runProducer } from "./run.ts";
import { ProducerTelemetry } from "./telemetry.ts";

const USAGE = `Usage: bun run workers/producer.ts

Publishes simulated user events to Kafka, or with PRODUCER_INPUT the lines of a file, unchanged.
Configured by environment variables or .env; config.example.env lists them. The most useful ones:

  KAFKA_BOOTSTRAP_SERVERS  brokers, host:port, separated by commas
  KAFKA_TOPIC              the topic, or several, of which the first is used; created if it is missing
  PRODUCER_RATE            events per second, or unlimited; without it, PRODUCER_MIN_INTERVAL and
                           PRODUCER_MAX_INTERVAL set the intervals
  PRODUCER_INPUT           a file of JSON lines, or - for standard input
  METRICS_PORT_PRODUCER    the port of its web page, /metrics, /healthz and /readyz (8001)

Ctrl-C flushes the outstanding records and stops the producer; a second Ctrl-C stops it at once.
Exit code: 0 all records delivered, 1 some records not delivered or a failure, 2 wrong configuration or usage.
`;

const CONNECT_DEADLINE_MS = 20_000;
const HTTP_DEADLINE_MS = 3000;
const METRICS_MS = 250;
const PROGRESS_MS = 10_000;

let running: Alerting | undefined;
const onCrash = async (error: unknown): Promise<void> => await running?.crashed(error);

await runProgram({ usage: USAGE, onCrash }, async (stop) => {
  const config = loadConfig(process.env, "producer");
  const log = makeLogger("producer", config.logLevel);
  const metrics = new MetricsRegistry({ program: "producer", processMetrics: true });
  const alerting = new Alerting("producer", config.monitoring, log, metrics);
  running = alerting;
  return await alerting.runWithAlerts(() => run(config, log, stop, metrics, alerting));
});

async function run(
  config: Config,
  log: Logger,
  stop: StopSignal,
  metrics: MetricsRegistry,
  alerting: Alerting,
): Promise<number> {
  await using resources = new Resources((problem) => log.warn(problem));
  const { kafka, monitoring } = config;
  const topic = kafka.topics[0]!;
  for (const warning of config.warnings) log.warn(warning);
  log.info(describeConfig(config, "producer"), "starting");

  const ledger = new DeliveryLedger();
  const telemetry = new ProducerTelemetry(topic, ledger, metrics, log);
  let waitingFor: string | undefined = "the Kafka client";
  const health = new ProducerHealth(ledger, () => ({ waitingFor, isStopping: stop.isRequested }));
  alerting.poll(producerProbe(health.problems));
  const webConsole =
    monitoring.console === "off"
      ? undefined
      : makeProducerConsole({
          config,
          topic,
          metrics,
          ledger,
          problems: health.problems,
          alerts: () => alerting.recent(),
        });
  const http = await startHttpServer({
    port: monitoring.producerPort,
    host: monitoring.httpHost,
    access: monitoring.access,
    portVariable: "METRICS_PORT_PRODUCER",
    metrics: async () => {
      telemetry.recordDeliveries();
      return { body: await metrics.text(), contentType: metrics.contentType };
    },
    ready: () => readinessOf(health.problems()),
    app: webConsole?.mount,
  });
  resources.defer("the HTTP server", HTTP_DEADLINE_MS, () => http.stop());
  resources.defer("the console", HTTP_DEADLINE_MS, () => webConsole?.close());
  const consoleUrl = webConsole === undefined ? "off" : http.url;
  log.info({ port: http.port, console: consoleUrl }, "serving /metrics, /healthz and /readyz");

  const source = await stop.orStopped(openSource(config.producer));
  if (source === undefined) return 0;
  const library = await stop.orStopped(prepareNativeLibrary((line) => log.info(line)));
  if (library === undefined) return 0;
  setBuildInfo(metrics, library.version);
  waitingFor = `topic ${topic}`;
  log.info({ bootstrapServers: kafka.bootstrapServers, topics: kafka.topics.join() }, "connecting");
  const found = await stop.orStopped(
    ensureTopics({ ...kafka, settings: adminSettings(kafka), deadlineMs: CONNECT_DEADLINE_MS }),
  );
  if (found === undefined) return 0;
  waitingFor = undefined;

  const figures = setInterval(() => telemetry.recordDeliveries(), METRICS_MS);
  const progress = setInterval(() => telemetry.progress(), PROGRESS_MS);
  log.info({ topic }, "producing");
  try {
    const ended = await runProducer({
      kafka,
      topic,
      source: source.records,
      limiter: source.limiter,
      ledger,
      stop,
      log,
    });
    return exitCode(ledger, source.records, ended, telemetry, alerting);
  } finally {
    clearInterval(figures);
    clearInterval(progress);
    telemetry.finished(source.records instanceof LineRecords ? source.records.blankLines : undefined);
  }
}

async function openSource(
  producer: ProducerConfig,
): Promise<{ records: RecordSource; limiter: RateLimiter }> {
  const { ratePerSecond, input } = producer;
  const steady = ratePerSecond === undefined ? undefined : steadyRate(ratePerSecond);
  if (input !== undefined) {
    return { records: new LineRecords(await openInput(input)), limiter: steady ?? noRateLimit };
  }
  const simulator = new EventSimulator(producer);
  const spaced = new SpacedRateLimiter(() => simulator.nextIntervalSeconds());
  return { records: simulatedRecords(simulator), limiter: steady ?? spaced };
}

function steadyRate(ratePerSecond: number): RateLimiter {
  return Number.isFinite(ratePerSecond) ? new SteadyRateLimiter(ratePerSecond) : noRateLimit;
}

function exitCode(
  { failed, outstanding }: DeliveryLedger,
  records: RecordSource,
  ended: "source_ended" | "stopped",
  telemetry: ProducerTelemetry,
  alerting: Alerting,
): 0 | 1 {
  if (records instanceof LineRecords && ended === "stopped") {
    telemetry.inputNotFinished();
    return 1;
  }
  if (records instanceof LineRecords && records.events === 0) {
    telemetry.inputWithoutEvents(records.lines);
    return 1;
  }
  if (failed + outstanding === 0) return 0;
  telemetry.notDelivered();
  alerting.failed(`${failed + outstanding} records were not delivered`);
  return 1;
}
