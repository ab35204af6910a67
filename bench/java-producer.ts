// Measures how fast Kafka's own kafka-producer-perf-test sends the same values: the reference of the producer.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Static, Type } from "typebox";
import { reapOnExit, removeOnExit, type Reaper } from "../shared/runtime/child-reaper.ts";
import { inherited } from "../test/support/process.ts";
import { kafkaArtifacts } from "../test/support/kafka-artifacts.ts";
import type { Bench } from "./bench.ts";
import { simulated } from "./records.ts";
import { Rate, closed } from "./shapes.ts";

export const JavaRoundShape = Type.Object({ eventsPerSecond: Rate, megabytesPerSecond: Rate }, closed);
type JavaRound = Static<typeof JavaRoundShape>;

/** The number of different values that it sends, at random. */
const VALUES = 10_000;

/**
 * The guarantees and the codec of our producer, and batches as large as librdkafka's, which is faster than the default.
 * kafka-producer-perf-test sends no keys, so it does not choose a partition for each record.
 */
const PROPERTIES = [
  "acks=all",
  "enable.idempotence=true",
  "compression.type=lz4",
  "linger.ms=5",
  "batch.size=1000000",
  "buffer.memory=134217728",
];

export class JavaProducer implements AsyncDisposable {
  readonly #bench: Bench;
  readonly #classPath: string;
  readonly #log4jConfiguration: string;
  readonly #directory: string;
  readonly #reaper: Reaper;

  private constructor(
    bench: Bench,
    artifacts: { classPath: string; log4jConfiguration: string },
    directory: string,
  ) {
    this.#bench = bench;
    this.#classPath = artifacts.classPath;
    this.#log4jConfiguration = artifacts.log4jConfiguration;
    this.#directory = directory;
    this.#reaper = removeOnExit(directory);
  }

  static async prepare(bench: Bench): Promise<JavaProducer> {
    const artifacts = await kafkaArtifacts(() => {});
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-bench-"));
    const java = new JavaProducer(bench, artifacts, directory);
    await Bun.write(java.#payload, [...simulated(VALUES)].map(({ value }) => value).join("\n"));
    return java;
  }

  get #payload(): string {
    return join(this.#directory, "values.jsonl");
  }

  /** Sends a tenth of the events to warm up, then all of them. @throws Error with the output of a failed run */
  async round(events: number): Promise<JavaRound> {
    const topic = await this.#bench.topic();
    const warmUp = Math.ceil(events / 10);
    const child = Bun.spawn(
      [
        "java",
        "-cp",
        this.#classPath,
        `-Dlog4j2.configurationFile=${this.#log4jConfiguration}`,
        "-DlogLevel=warn",
        "org.apache.kafka.tools.ProducerPerformance",
        "--bootstrap-server",
        this.#bench.kafka.bootstrapServers,
        "--topic",
        topic,
        "--num-records",
        String(warmUp + events),
        "--warmup-records",
        String(warmUp),
        "--throughput",
        "-1",
        "--payload-file",
        this.#payload,
        "--command-property",
        ...PROPERTIES,
      ],
      { env: inherited("PATH", "HOME", "JAVA_HOME", "TMPDIR"), stdio: ["ignore", "pipe", "pipe"] },
    );
    const reaper = reapOnExit({ pid: child.pid, signal: "KILL" });
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    const code = await child.exited;
    reaper.release();
    await this.#bench.kafka.deleteTopic(topic);
    const figures = steadyState(output);
    if (code !== 0 || figures === undefined) {
      throw new Error(`kafka-producer-perf-test ended with ${code}:\n${output}\n${errors}`);
    }
    return figures;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
    this.#reaper.release();
  }
}

/** `… 500000 steady state records sent, 312000.5 records/sec (91.32 MB/sec), …` in MB of 2^20 bytes. */
function steadyState(output: string): JavaRound | undefined {
  const found = /steady state records sent, ([\d.]+) records\/sec \(([\d.]+) MB\/sec\)/.exec(output);
  if (found === null) return undefined;
  return { eventsPerSecond: Number(found[1]), megabytesPerSecond: (Number(found[2]) * 2 ** 20) / 1e6 };
}
