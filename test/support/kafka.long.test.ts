import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KafkaUnderTest } from "../kafka/kafka-variants.ts";
import { eventually } from "./eventually.ts";
import { isRunning } from "./process.ts";
import { kafkaArtifacts } from "./kafka-artifacts.ts";
import { runJava } from "./kafka-broker.ts";
import { KafkaCluster } from "./kafka.ts";
import { clusterTest, kafkaTest, requiring } from "./requirements.ts";
import { sharedKafka } from "./shared-kafka.ts";
import { rejection } from "./rejection.ts";

const TOPICS = "org.apache.kafka.tools.TopicCommand";
const OFFSETS = "org.apache.kafka.tools.GetOffsetShell";
const LOAD = "org.apache.kafka.tools.ProducerPerformance";

kafkaTest(
  "the shared Kafka creates topics that belong to one test",
  async () => {
    const kafka = await sharedKafka();
    const first = await kafka.createTopic({ partitions: 3, properties: { "max.message.bytes": "2000" } });
    const second = await kafka.createTopic();
    expect(first).not.toBe(second);
    expect(kafka.bootstrapServers).toMatch(/:\d+/);
  },
  60_000,
);

clusterTest(
  "a cluster of one broker gives a topic a new id when it is created again, deletes records, and survives a kill",
  async () => {
    await using kafka = await KafkaCluster.start();
    const describe = async () => (await describeAll(kafka, "t"))[0]!;
    await kafka.createTopic("t", { partitions: 3 });
    const first = await describe();
    expect(first).toMatchObject({ error: undefined, partitions: { length: 3 } });

    await kafka.deleteTopic("t");
    await eventually("the topic is gone", async () => (await describe()).error !== undefined);
    await kafka.createTopic("t", { properties: { "min.insync.replicas": "2" } });
    const second = await describe();
    expect(second).toMatchObject({ error: undefined, partitions: { length: 1 } });
    expect(second.topicId).not.toBe(first.topicId);
    expect(await kafka.tool(TOPICS, ["--describe", "--topic", "t"])).toContain("min.insync.replicas=2");

    await kafka.createTopic("loaded");
    const load = ["--topic", "loaded", "--num-records", "10", "--record-size", "5", "--throughput", "-1"];
    await kafka.tool(LOAD, load);
    await kafka.deleteRecords("loaded", 0, 4);
    expect(await kafka.tool(OFFSETS, ["--topic", "loaded", "--time", "earliest"])).toContain("loaded:0:4\n");
    const before = kafka.pids;
    await kafka.kill(0, "SIGKILL");
    expect(kafka.pids).toEqual([undefined]);
    await kafka.restart(0);
    expect(kafka.pids).not.toEqual(before);
    expect(await kafka.tool(OFFSETS, ["--topic", "loaded", "--time", "latest"])).toContain("loaded:0:10\n");
    expect(await describe()).toEqual(second);
  },
  120_000,
);

clusterTest(
  "a cluster of three brokers keeps three replicas, and takes a killed broker back into sync",
  async () => {
    await using kafka = await KafkaCluster.start({ brokers: 3 });
    expect(kafka.bootstrapServers.split(",")).toHaveLength(3);
    await kafka.createTopic("t");
    const inSync = async () => (await describeAll(kafka, "t"))[0]!.partitions[0]!.inSyncReplicas;
    expect(await inSync()).toBe(3);
    await kafka.kill(1, "SIGKILL");
    await eventually("two are in sync", async () => (await inSync()) === 2, { timeoutMs: 60_000 });
    await kafka.restart(1);
    await eventually("three are in sync", async () => (await inSync()) === 3, { timeoutMs: 60_000 });
    expect(await kafka.log(1)).toContain("Kafka Server started");

    await kafka.kill(2, "SIGSTOP");
    const state = async () => (await Bun.$`ps -o stat= -p ${kafka.pids[2]}`.text()).trim();
    await eventually("it is frozen", async () => (await state()).startsWith("T"));
    await kafka.kill(2, "SIGCONT");
    await eventually("it continues", async () => !(await state()).startsWith("T"));
  },
  180_000,
);

clusterTest(
  "a cluster with users refuses a client with a wrong password",
  async () => {
    await using kafka = await KafkaCluster.start({ users: { app: "right" } });
    const artifacts = await kafkaArtifacts(() => {});
    const directory = await mkdtemp(join(tmpdir(), "event-pipeline-login-"));
    try {
      const listTopicsAs = async (password: string) => {
        const configuration = join(directory, `${password}.properties`);
        const login = "org.apache.kafka.common.security.scram.ScramLoginModule required";
        await Bun.write(
          configuration,
          `security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config=${login} username="app" password="${password}";\n`,
        );
        const server = ["--bootstrap-server", kafka.bootstrapServers];
        return runJava(artifacts, TOPICS, [...server, "--command-config", configuration, "--list"]);
      };
      await kafka.createTopic("visible");
      expect(await listTopicsAs("right")).toContain("visible");
      expect((await rejection(listTopicsAs("wrong"))).message).toContain("SaslAuthenticationException");
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
  120_000,
);

clusterTest(
  "a broker that cannot start reports the reason",
  async () => {
    expect(
      (await rejection(KafkaCluster.start({ properties: { "num.partitions": "nonsense" } }))).message,
    ).toMatch(/Invalid value nonsense for configuration num\.partitions/);
  },
  60_000,
);

clusterTest(
  "a broker ends and its files are removed when the process that started it is killed",
  async () => {
    const script = `
      const { KafkaCluster } = await import(${JSON.stringify(import.meta.resolve("./kafka.ts"))});
      console.log((await KafkaCluster.start()).pids[0]);
      await Bun.sleep(60_000);`;
    const parent = Bun.spawn([process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const pid = Number(new TextDecoder().decode((await parent.stdout.getReader().read()).value));
    const commandLine = await Bun.$`ps -o args= -p ${pid}`.text();
    const directory = /\S*event-pipeline-kafka-\w+/.exec(commandLine)![0];
    expect(existsSync(directory)).toBe(true);
    parent.kill("SIGKILL");
    await eventually("its files are gone", () => !existsSync(directory));
    await eventually("the broker has ended", () => !isRunning(pid));
  },
  120_000,
);

async function describeAll(kafka: KafkaCluster, ...topics: string[]) {
  return new KafkaUnderTest(kafka.bootstrapServers).describeTopics(topics);
}

test("a test whose requirement is missing is skipped with the reason, and in CI it fails", async () => {
  const seen: { how: "run" | "skip"; name: string; run: () => unknown }[] = [];
  const register = Object.assign(
    (name: string, run: () => unknown) => void seen.push({ how: "run", name, run }),
    { skip: (name: string, run: () => unknown) => void seen.push({ how: "skip", name, run }) },
  );
  requiring("a pony", undefined, { ci: true, register })("rides", () => {});
  requiring("a pony", "the stable is empty", { ci: false, register })("rides", () => {});
  requiring("a pony", "the stable is empty", { ci: true, register })("rides", () => {});
  expect(seen.map(({ how, name }) => `${how} ${name}`)).toEqual([
    "run rides",
    "skip rides [skipped, needs a pony: the stable is empty]",
    "run rides",
  ]);
  expect(() => seen[2]!.run()).toThrow("this one needs a pony: the stable is empty");
});
