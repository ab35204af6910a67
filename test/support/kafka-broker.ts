// Runs one Kafka broker as a child process that ends with this process.
import { closeSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Reaper, reapOnExit } from "../../shared/runtime/child-reaper.ts";
import { inherited } from "./process.ts";
import { eventually } from "./eventually.ts";
import type { KafkaArtifacts } from "./kafka-artifacts.ts";

/** Less memory and a quicker start, for a broker that lives for a few minutes. */
const JVM_FLAGS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];
const START_DEADLINE_MS = 90_000;

export interface BrokerPlace {
  readonly nodeId: number;
  readonly clusterId: string;
  /** Where the broker keeps its data, properties and log. */
  readonly directory: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** One broker, which is also a controller. It can be ended in any way and started again. */
export class KafkaBroker {
  readonly place: BrokerPlace;
  readonly #artifacts: KafkaArtifacts;
  #process: Bun.Subprocess | undefined;
  #reaper: Reaper | undefined;
  #logStart = 0;

  constructor(artifacts: KafkaArtifacts, place: BrokerPlace) {
    this.#artifacts = artifacts;
    this.place = place;
  }

  /** Undefined while the broker is down. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** What the broker has logged so far, over all its starts. */
  log(): Promise<string> {
    return Bun.file(this.#logPath)
      .text()
      .catch(() => "");
  }

  /** The data directory that the broker finds when it starts, as `StorageTool format` leaves it. */
  async format(bootstrapCheckpoint: string): Promise<void> {
    const { nodeId, clusterId } = this.place;
    await mkdir(this.#dataDirectory, { recursive: true });
    await Bun.write(
      join(this.#dataDirectory, "meta.properties"),
      `version=1\nnode.id=${nodeId}\ncluster.id=${clusterId}\ndirectory.id=${randomUuid()}\n`,
    );
    await Bun.write(join(this.#dataDirectory, "bootstrap.checkpoint"), Bun.file(bootstrapCheckpoint));
  }

  /** Formats the data directory with Kafka's own tool, which takes further arguments (users, features). */
  async formatWithTool(...toolArguments: string[]): Promise<void> {
    const properties = await this.#writeProperties();
    const args = ["format", "-t", this.place.clusterId, "-c", properties, ...toolArguments];
    await runJava(this.#artifacts, "kafka.tools.StorageTool", args);
  }

  /** Starts the process; `untilStarted` waits for it. */
  async start(...jvmFlags: string[]): Promise<void> {
    if (this.#process !== undefined) throw new Error(`broker ${this.place.nodeId} is running`);
    const properties = await this.#writeProperties();
    this.#logStart = (await this.log()).length;
    const log = openSync(this.#logPath, "a");
    const command = ["java", "-Xms32m", "-Xmx192m", ...JVM_FLAGS, ...jvmFlags];
    const started = Bun.spawn(
      [...command, ...javaArguments(this.#artifacts), "kafka.Kafka", properties],
      // In a separate session, so that Ctrl-C at the terminal reaches the test first and not its broker.
      { detached: true, cwd: this.place.directory, env: javaEnvironment(), stdio: ["ignore", log, log] },
    );
    closeSync(log);
    started.unref();
    this.#process = started;
    this.#reaper = reapOnExit({ pid: started.pid, signal: "KILL" });
    void started.exited.then(() => this.#ended(started));
  }

  /**
   * Waits until the broker serves: it is registered, and no longer fenced.
   * @throws Error with the end of its log when it ends instead
   */
  async untilStarted(): Promise<void> {
    const started = this.#process;
    if (started === undefined) throw new Error(`broker ${this.place.nodeId} is not running`);
    const ended = await eventually(
      `broker ${this.place.nodeId} has started`,
      async () => {
        if (started.exitCode !== null || started.signalCode !== null) return "ended" as const;
        return (await this.log()).slice(this.#logStart).includes("Kafka Server started") && "started";
      },
      { timeoutMs: START_DEADLINE_MS, everyMs: 50 },
    ).catch((error: unknown) => error);
    if (ended === "started") return;
    const tail = (await this.log()).trim().split("\n").slice(-15).join("\n");
    await this.kill("SIGKILL");
    throw new Error(`broker ${this.place.nodeId} did not start (${String(ended)}):\n${tail}`);
  }

  /** Sends a signal; waits for the end of the process where the signal ends it. */
  async kill(signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    const running = this.#process;
    if (running === undefined) return;
    running.kill(signal);
    if (signal === "SIGSTOP" || signal === "SIGCONT") return;
    await running.exited;
    this.#ended(running);
  }

  /** Also when a broker fails: its process id may soon belong to another process. */
  #ended(process: Bun.Subprocess): void {
    if (this.#process !== process) return;
    this.#process = undefined;
    this.#reaper?.release();
    this.#reaper = undefined;
  }

  get #dataDirectory(): string {
    return join(this.place.directory, `data-${this.place.nodeId}`);
  }

  get #logPath(): string {
    return join(this.place.directory, `broker-${this.place.nodeId}.log`);
  }

  async #writeProperties(): Promise<string> {
    const path = join(this.place.directory, `broker-${this.place.nodeId}.properties`);
    const lines = Object.entries({ ...this.place.properties, "log.dirs": this.#dataDirectory });
    await Bun.write(path, lines.map(([name, value]) => `${name}=${value}\n`).join(""));
    return path;
  }
}

/**
 * Runs one of Kafka's command-line classes to its end.
 * @returns what it printed
 * @throws Error with its output when it fails
 */
export async function runJava(
  artifacts: KafkaArtifacts,
  className: string,
  toolArguments: readonly string[],
): Promise<string> {
  const tool = Bun.spawn(
    [
      "java",
      "-Xmx128m",
      ...JVM_FLAGS,
      "-DlogLevel=warn",
      ...javaArguments(artifacts),
      className,
      ...toolArguments,
    ],
    { env: javaEnvironment(), stdio: ["ignore", "pipe", "pipe"] },
  );
  const [output, errors] = await Promise.all([tool.stdout.text(), tool.stderr.text()]);
  if ((await tool.exited) !== 0) throw new Error(`${className} failed: ${`${errors}\n${output}`.trim()}`);
  return output;
}

/** 22 characters, as Kafka writes its ids. */
export function randomUuid(): string {
  // Kafka reads a leading dash as an option.
  return `k${Buffer.from(crypto.getRandomValues(new Uint8Array(16)))
    .toString("base64url")
    .slice(1)}`;
}

export function javaArguments({ classPath, log4jConfiguration }: KafkaArtifacts): string[] {
  return ["-cp", classPath, `-Dlog4j2.configurationFile=${log4jConfiguration}`];
}

/** Without KAFKA_* of the surroundings and without JAVA_TOOL_OPTIONS, which change what a JVM prints and does. */
export function javaEnvironment(): Record<string, string> {
  return inherited("PATH", "HOME", "JAVA_HOME", "TMPDIR");
}
