// Takes screenshots of the console under load: `bun test/console/screenshot.ts`.
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Browser } from "playwright-core";
import { freePorts } from "../../shared/runtime/free-port.ts";
import { startChromium, Visit } from "../support/browser.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres, TestDatabase } from "../support/postgres.ts";
import type { RawRecord } from "../support/raw-producer.ts";
import { Program } from "../support/process.ts";
import { startPrometheus, whyNoPrometheus } from "../support/prometheus.ts";
import { createTopic } from "../support/topics.ts";

const HELP = `Usage: bun test/console/screenshot.ts [--seconds N] [--all folder]

Runs the whole pipeline under load (Kafka, PostgreSQL, Prometheus, producer, consumer) and takes the screenshot of the
console for README.md after N seconds (150). With --all it takes more of them into a folder: dark, narrow, the
producer's page, PostgreSQL unavailable, connection lost.
`;

const README_SCREENSHOT = resolve(import.meta.dir, "../../shared/console/screenshot.png");
const TOPIC = "user-events";
const GROUP = "data-pipeline-consumer";
const RATE = 300;
const HOUR_MS = 3_600_000;
const HOURS = 22;
const TYPES = [
  ["page_view", 0.45],
  ["click", 0.25],
  ["search", 0.15],
  ["purchase", 0.05],
  ["login", 0.05],
  ["logout", 0.05],
] as const;

const encode = (text: string) => new TextEncoder().encode(text);

/** Events of the past hours; their number follows the time of day. */
function* pastEvents(nowMs: number): Generator<RawRecord> {
  for (let hour = HOURS; hour >= 1; hour--) {
    const startMs = Math.floor(nowMs / HOUR_MS - hour) * HOUR_MS;
    const events = 26_000 + 13_000 * Math.sin(((new Date(startMs).getUTCHours() - 9) / 24) * 2 * Math.PI);
    for (let index = 0; index < events; index++) {
      const user = `user_${(index * 7919) % 1000}`;
      let share = (index * 0.618_033_988_7) % 1;
      const [type] = TYPES.find(([, weight]) => (share -= weight) < 0) ?? TYPES[0];
      yield {
        key: encode(user),
        value: encode(
          JSON.stringify({
            event_id: `${type}_${startMs}_${index}`,
            user_id: user,
            event_type: type,
            timestamp: new Date(startMs + ((index * 97) % HOUR_MS)).toISOString(),
            event_data: { session_id: `session_${index}` },
            ...(type === "page_view" ? { duration_seconds: index % 300 } : {}),
          }),
        ),
      };
    }
  }
}

/** Invalid records as real topics have them. */
const INVALID = [
  '{"event_id":"click_1763845","user_id":"user_7","event_type":"click","timestamp":"yesterday","event_data":{}}',
  '{"event_id":"search_88","event_type":"search","timestamp":"2026-11-22T10:00:00Z","event_data":{"q":"shoes"}}',
  "<script>alert('not an event')</script>",
  '{"event_id":"purchase_5521","user_id":"user_31","event_type":"purchase","timestamp":"2026-1',
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: "string" }, all: { type: "string" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const [port = 0, producerPort = 0] = await freePorts(2);
  await using kafka = await KafkaCluster.start();
  await using server = await startPostgres();
  await using other = await server.database();
  await other.sql`create database data_pipeline`;
  const database = new TestDatabase(
    other.address,
    { port: server.port },
    "data_pipeline",
    async () => undefined,
  );
  await createTopic(kafka.bootstrapServers, TOPIC, { partitions: 6 });
  await using prometheus =
    whyNoPrometheus() === undefined
      ? await startPrometheus({ producers: [`127.0.0.1:${producerPort}`], consumers: [`127.0.0.1:${port}`] })
      : undefined;
  await using pipeline = await TestPipeline.start({
    kafka: { bootstrapServers: kafka.bootstrapServers, topic: TOPIC },
    database,
    env: {
      KAFKA_CONSUMER_GROUP: GROUP,
      CONSUMER_BATCH_SIZE: "5000",
      METRICS_PORT_CONSUMER: String(port),
      PROMETHEUS_URL: prometheus?.url ?? "http://localhost:9090",
    },
  });

  say("publishing the past hours");
  const filling = pipeline.consumer();
  const past = [...pastEvents(Date.now())];
  for (let at = 0; at < past.length; at += 5000) await pipeline.send(past.slice(at, at + 5000));
  for (const value of INVALID) await pipeline.publishValue(value);
  const records = past.length + INVALID.length;
  await pipeline.until("they are consumed", async () => (await pipeline.consumed()) === records, 180_000);
  await filling.drain();

  const consumer = pipeline.consumer();
  await using producer = Program.start("workers/producer.ts", {
    env: {
      KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
      KAFKA_TOPIC: TOPIC,
      PRODUCER_RATE: String(RATE),
      METRICS_PORT_PRODUCER: String(producerPort),
      PROMETHEUS_URL: prometheus?.url ?? "http://localhost:9090",
    },
  });
  await consumer.port();
  const seconds = Number(values.seconds ?? 150);
  say(`${seconds} s of load`);
  for (let second = 0; second < seconds; second++) {
    await Bun.sleep(1000);
    if (second % 23 === 7) await pipeline.send(past.slice(second * 10, second * 10 + 3));
  }
  const browser = await startChromium();
  try {
    await screenshot(browser, port, README_SCREENSHOT, { height: 1270 });
    if (values.all === undefined) return;
    const into = (name: string) => resolve(values.all ?? "", `${name}.png`);
    await screenshot(browser, port, into("light"), { fullPage: true });
    await screenshot(browser, port, into("dark"), { fullPage: true, colorScheme: "dark" });
    await screenshot(browser, port, into("narrow"), { fullPage: true, width: 375 });
    await screenshot(browser, producerPort, into("producer"), { fullPage: true });
    await server.stop("immediate");
    await Bun.sleep(20_000);
    await screenshot(browser, port, into("postgres-away"), { fullPage: true });
    await server.start();
    await Bun.sleep(15_000);
    await using visit = await Visit.to(port, browser);
    await Bun.sleep(3000);
    consumer.program.signal("SIGKILL");
    await Bun.sleep(4000);
    await visit.page.screenshot({ path: into("lost"), fullPage: true });
  } finally {
    await browser.close();
  }
  producer.signal("SIGTERM");
}

async function screenshot(
  browser: Browser,
  port: number,
  path: string,
  {
    width = 1280,
    height = 900,
    colorScheme = "light",
    fullPage = false,
  }: { width?: number; height?: number; colorScheme?: "light" | "dark"; fullPage?: boolean },
): Promise<void> {
  await using visit = await Visit.to(port, browser, { viewport: { width, height }, colorScheme });
  await Bun.sleep(3500);
  await visit.page.screenshot({ path, fullPage });
  say(path);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

await main();
