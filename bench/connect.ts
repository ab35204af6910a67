// Runs Kafka Connect with Debezium's JDBC sink in its standalone mode: the peer of the consumer.
import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cachedDirectory } from "../shared/runtime/cache.ts";
import { reapOnExit, removeOnExit, type Reaper } from "../shared/runtime/child-reaper.ts";
import { freePort } from "../shared/runtime/free-port.ts";
import { eventually } from "../test/support/eventually.ts";
import { type KafkaArtifacts, kafkaArtifacts } from "../test/support/kafka-artifacts.ts";
import { javaArguments, javaEnvironment } from "../test/support/kafka-broker.ts";
import { copyJars } from "../test/support/maven.ts";
import type { Bench } from "./bench.ts";

export const DEBEZIUM_VERSION = "3.5.0.Final";
const POSTGRES_DRIVER = "42.7.11";
const JARS = `debezium-jdbc-${DEBEZIUM_VERSION}`;
const START_DEADLINE_MS = 120_000;
/** Those of Kafka's own connect-standalone.sh. */
const JVM_FLAGS = [
  "-Xms256m",
  "-Xmx2g",
  "-server",
  "-XX:+UseG1GC",
  "-XX:MaxGCPauseMillis=20",
  "-XX:InitiatingHeapOccupancyPercent=35",
  "-XX:+ExplicitGCInvokesConcurrent",
];

interface TaskStatus {
  readonly state: string;
  readonly trace?: string;
}

/** The jars of Kafka, and the directory of plugins with the sink. */
interface ConnectArtifacts {
  readonly kafka: KafkaArtifacts;
  readonly plugins: string;
}

/** Fetches the jars, once per user. @throws Error when Maven cannot fetch them */
export async function connectArtifacts(say: (line: string) => void): Promise<ConnectArtifacts> {
  const plugins = await cachedDirectory(JARS, async (directory) => {
    say(`fetching Debezium's JDBC sink ${DEBEZIUM_VERSION} with Maven (once)`);
    await copyJars(join(directory, "jdbc"), [
      {
        artifact: `io.debezium:debezium-connector-jdbc:${DEBEZIUM_VERSION}`,
        // Kafka Connect brings these; two Jacksons in one JVM clash.
        without: ["org.apache.kafka:*", "com.fasterxml.jackson.core:*", "com.fasterxml.jackson.datatype:*"],
      },
      { artifact: `org.postgresql:postgresql:${POSTGRES_DRIVER}` },
    ]);
  });
  return { kafka: await kafkaArtifacts(say), plugins };
}

/** A running worker of Kafka Connect. Disposing kills it. */
export class ConnectWorker implements AsyncDisposable {
  readonly pid: number;
  readonly #process: Bun.Subprocess;
  readonly #url: string;
  readonly #directory: string;
  readonly #reapers: readonly Reaper[];

  private constructor(process: Bun.Subprocess, url: string, directory: string, reapers: readonly Reaper[]) {
    this.#process = process;
    this.pid = process.pid;
    this.#url = url;
    this.#directory = directory;
    this.#reapers = reapers;
  }

  /** @throws Error with its log when it does not start */
  static async start(bench: Bench, { kafka, plugins }: ConnectArtifacts): Promise<ConnectWorker> {
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-connect-"));
    const removal = removeOnExit(directory);
    const url = `http://127.0.0.1:${await freePort()}`;
    const properties = join(directory, "worker.properties");
    await Bun.write(properties, linesOf(workerProperties(bench, url, directory, plugins)));
    const log = openSync(join(directory, "connect.log"), "a");
    const child = Bun.spawn(
      [
        "java",
        ...JVM_FLAGS,
        ...javaArguments(kafka),
        "-DlogLevel=warn",
        "org.apache.kafka.connect.cli.ConnectStandalone",
        properties,
      ],
      { cwd: directory, env: javaEnvironment(), stdio: ["ignore", log, log] },
    );
    closeSync(log);
    const reaper = reapOnExit({ pid: child.pid, signal: "KILL" });
    const worker = new ConnectWorker(child, url, directory, [removal, reaper]);
    try {
      await eventually("Kafka Connect answers", () => worker.#answers(), {
        timeoutMs: START_DEADLINE_MS,
        everyMs: 100,
      });
    } catch (error) {
      const explained = await worker.#explained(error);
      await worker[Symbol.asyncDispose]();
      throw explained;
    }
    return worker;
  }

  /** Starts a connector. @throws Error with what Connect answers when it refuses it */
  async create(name: string, config: Readonly<Record<string, string>>): Promise<void> {
    const response = await fetch(`${this.#url}/connectors`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name, config: { name, ...config } }),
    });
    if (!response.ok) throw new Error(`Kafka Connect refuses the connector: ${await response.text()}`);
  }

  /** @throws Error with the trace of a task that failed */
  async assertRunning(name: string): Promise<void> {
    const response = await fetch(`${this.#url}/connectors/${name}/status`);
    const { tasks } = (await response.json()) as { tasks: TaskStatus[] };
    const failed = tasks.find(({ state }) => state === "FAILED");
    if (failed !== undefined) throw new Error(`a task of Kafka Connect failed:\n${failed.trace}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
    await rm(this.#directory, { recursive: true, force: true });
    for (const reaper of this.#reapers) reaper.release();
  }

  async #answers(): Promise<boolean> {
    if (this.#process.exitCode !== null) throw new Error("Kafka Connect ended");
    return await fetch(`${this.#url}/connectors`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  async #explained(cause: unknown): Promise<Error> {
    const log = await Bun.file(join(this.#directory, "connect.log")).text();
    const end = log.trim().split("\n").slice(-30).join("\n");
    return new Error(`Kafka Connect did not start:\n${end}`, { cause });
  }
}

function workerProperties(
  bench: Bench,
  url: string,
  directory: string,
  plugins: string,
): Record<string, string> {
  return {
    "bootstrap.servers": bench.kafka.bootstrapServers,
    "plugin.path": plugins,
    "plugin.discovery": "service_load",
    listeners: url,
    "offset.storage.file.filename": join(directory, "offsets"),
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "connector.client.config.override.policy": "All",
  };
}

function linesOf(properties: Readonly<Record<string, string>>): string {
  return Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join("");
}
