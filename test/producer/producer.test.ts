import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { EmbeddedBroker } from "../../shared/kafka/embedded.ts";
import { EventReader, MAX_VALUE_BYTES } from "../../shared/pipeline/event-reader.ts";
import { eventually } from "../support/eventually.ts";
import { Program } from "../support/process.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { clusterTest, kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { BrokerFaults, RequestKey } from "../kafka/broker-faults.ts";
import { GroupMember } from "../kafka/group-member.ts";
import { type KafkaUnderTest, onBoth, onEmbedded } from "../kafka/kafka-variants.ts";

const PRODUCER = "workers/producer.ts";
const TOPIC_AUTHORIZATION_FAILED = 29;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "event-pipeline-producer-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

function start(env: Record<string, string>, rest: { args?: string[]; input?: string } = {}): Program {
  return Program.start(PRODUCER, {
    env: { METRICS_PORT_PRODUCER: "0", HTTP_HOST: "127.0.0.1", ...env },
    ...rest,
  });
}

function on(
  { bootstrapServers }: { bootstrapServers: string },
  topic: string,
  env: Record<string, string> = {},
) {
  return { KAFKA_BOOTSTRAP_SERVERS: bootstrapServers, KAFKA_TOPIC: topic, ...env };
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** The figures of the last log line. */
function summaryOf(program: Program): Record<string, unknown> {
  const line = program.stdout.split("\n").findLast((text) => text.includes('"msg":"finished"'));
  return line === undefined ? {} : JSON.parse(line);
}

/** The number of records that wait for an acknowledgement. */
async function outstandingRecords(port: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${port}/api/production`);
  const { now } = (await answer.json()) as { now: { outstanding: number } };
  return now.outstanding;
}

/** All records of the topic, once `count` have arrived and no more come. */
async function read(kafka: KafkaUnderTest, topic: string, count: number) {
  await using member = await GroupMember.open(kafka, { topics: [topic] });
  await member.until(`${count} records`, () => member.records.length >= count, { timeoutMs: 30_000 });
  await Bun.sleep(200);
  member.poll();
  return member.records;
}

/** The most memory that a process has had. */
function peakKiB(pid: number): number {
  return Number(/^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

function numbered(count: number): string[] {
  return Array.from(
    { length: count },
    (_, n) => `{"user_id":"user_${n % 50}","event_type":"type_${n % 3}","n":${n}}`,
  );
}

describe("the producer of simulated events", () => {
  onBoth("publishes events unchanged, and counts them when they are acknowledged", async (kafka) => {
    const topic = await kafka.createTopic(3);
    await using program = start(on(kafka, topic, { PRODUCER_RATE: "2000", PRODUCER_USER_COUNT: "20" }));
    const port = await program.port();
    const scrape = await program.metrics(port, "some are acknowledged", (found) => {
      return (found.value("events_produced_total") ?? 0) > 500;
    });
    expect(scrape.value("bytes_total", { direction: "out", source: "producer", topic })).toBe(
      scrape.value("event_size_bytes_sum"),
    );
    expect(scrape.value("event_size_bytes_count")).toBe(scrape.value("events_produced_total"));
    expect(scrape.value("kafka_produce_errors_total")).toBe(0);
    expect(scrape.find("pipeline_build_info")).toHaveLength(1);
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);

    program.signal("SIGINT");
    expect(await program.exit()).toBe(0);
    const { sent, acknowledged, failed, outstanding } = summaryOf(program);
    expect({ failed, outstanding, acknowledged }).toEqual({ failed: 0, outstanding: 0, acknowledged: sent });
    const records = await read(kafka, topic, Number(sent));
    expect(records).toHaveLength(Number(sent));
    const reader = new EventReader();
    const ids = new Set<unknown>();
    for (const { key, value } of records) {
      const event = reader.readValue(Buffer.from(value ?? ""), Date.now(), 60_000);
      expect(event).toMatchObject({ userId: key });
      ids.add(/"event_id":"([^"]+)"/.exec(value ?? "")?.[1]);
    }
    expect(ids.size).toBe(records.length);
  });

  kafkaTest("publishes to the first of several topics, and creates it if it is missing", async () => {
    const kafka = await sharedKafka();
    const topics = [1, 2].map((n) => `test-${n}-${crypto.randomUUID()}`);
    const env = on(kafka, topics.join(), { PRODUCER_RATE: "200", KAFKA_TOPIC_PARTITIONS: "2" });
    await using program = start(env);
    const port = await program.port();
    await program.metrics(port, "some are acknowledged", (found) => {
      return (found.value("bytes_total", { topic: topics[0]! }) ?? 0) > 0;
    });
    program.signal("SIGTERM");
    expect(await program.exit()).toBe(0);
  });
});

describe("the producer of PRODUCER_INPUT", () => {
  onBoth("publishes each line unchanged, keyed by its user_id, and ends", async (kafka) => {
    const topic = await kafka.createTopic(2);
    const lines = [
      Buffer.from('{"user_id":"ümlaut","event_type":"x","n":1e400}'),
      Buffer.from('  {"user_id":"user_2"}\r'),
      Buffer.from("not json"),
      Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
      Buffer.from('{"user_id":7}'),
    ];
    const path = await file(
      "as-it-is.jsonl",
      Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n\n")])),
    );
    await using program = start(on(kafka, topic, { PRODUCER_INPUT: path }));
    expect(await program.exit()).toBe(0);
    expect(summaryOf(program)).toMatchObject({
      sent: 5,
      acknowledged: 5,
      failed: 0,
      outstanding: 0,
      blankLines: 5,
    });
    const records = await read(kafka, topic, 5);
    const pairs = records.map(({ key, value }) => [value, key] as const);
    expect(new Map(pairs)).toEqual(
      new Map(lines.map((line, n) => [line.toString(), ["ümlaut", "user_2"][n]] as const)),
    );
    expect(pairs).toHaveLength(5);
  });

  onEmbedded("reads standard input", async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using program = start(on(kafka, topic, { PRODUCER_INPUT: "-" }), {
      input: numbered(300).join("\n"),
    });
    expect(await program.exit()).toBe(0);
    expect((await read(kafka, topic, 300)).map(({ value }) => value)).toEqual(numbered(300));
  });

  onBoth("waits for a full queue, and keeps all records in order", async (kafka) => {
    const topic = await kafka.createTopic(1);
    const lines = numbered(20_000);
    const env = {
      PRODUCER_INPUT: await file("full-queue.jsonl", lines.join("\n")),
      KAFKA_CONFIG_QUEUE_BUFFERING_MAX_MESSAGES: "50",
    };
    await using program = start(on(kafka, topic, env));
    expect(await program.exit(60_000)).toBe(0);
    expect((await read(kafka, topic, lines.length)).map(({ value }) => value)).toEqual(lines);
  });

  onEmbedded("delivers all records after an outage", async (kafka) => {
    const topic = await kafka.createTopic(1);
    const lines = numbered(3000);
    const env = { PRODUCER_INPUT: await file("outage.jsonl", lines.join("\n")), PRODUCER_RATE: "500" };
    await using program = start(on(kafka, topic, env));
    const port = await program.port();
    const acknowledged = (least: number) =>
      program.metrics(port, `${least} acknowledged`, (found) => {
        return (found.value("events_produced_total") ?? 0) >= least;
      });
    await acknowledged(300);
    kafka.faults.setDown();
    await eventually("lines wait in the queue", async () => (await outstandingRecords(port)) > 100);
    const before = (await acknowledged(300)).value("events_produced_total")!;
    expect(before).toBeLessThan(3000);
    kafka.faults.setUp();
    expect(await program.exit()).toBe(0);
    expect(summaryOf(program)).toMatchObject({ sent: 3000, acknowledged: 3000, failed: 0 });
    expect((await read(kafka, topic, 3000)).map(({ value }) => value)).toEqual(lines);
  });

  onBoth("reports a line that is too large, delivers the others, and exits with 1", async (kafka) => {
    const topic = await kafka.createTopic(1);
    const huge = `{"filler":"${"x".repeat(2_000_000)}"}`;
    const env = { PRODUCER_INPUT: await file("huge.jsonl", ["first", huge, "last"].join("\n")) };
    await using program = start(on(kafka, topic, env));
    expect(await program.exit()).toBe(1);
    expect(summaryOf(program)).toMatchObject({ sent: 2, acknowledged: 2, failed: 1, outstanding: 0 });
    expect(program.output).toMatch(/MSG_SIZE_TOO_LARGE/);
    expect((await read(kafka, topic, 2)).map(({ value }) => value)).toEqual(["first", "last"]);
  });

  kafkaTest(
    "fits its batches to a topic that takes less than Kafka's default",
    async () => {
      const kafka = await sharedKafka();
      const topic = await kafka.createTopic({ properties: { "max.message.bytes": "20000" } });
      const filler = () => Buffer.from(crypto.getRandomValues(new Uint8Array(150))).toString("base64");
      const lines = numbered(2000).map((line) => line.replace("}", `,"filler":"${filler()}"}`));
      lines.splice(1000, 0, `{"filler":"${Array.from({ length: 200 }, filler).join("")}"}`);
      await using program = start(
        on(kafka, topic, { PRODUCER_INPUT: await file("small.jsonl", lines.join("\n")) }),
      );
      // The record that does not fit fails, and none of its neighbors.
      expect(await program.exit()).toBe(1);
      expect(summaryOf(program)).toMatchObject({ sent: 2001, acknowledged: 2000, failed: 1, outstanding: 0 });
    },
    60_000,
  );

  kafkaTest(
    "delivers a record of each size that the consumer accepts",
    async () => {
      const kafka = await sharedKafka();
      const topic = await kafka.createTopic();
      const sized = (bytes: number) => {
        const empty = '{"user_id":"u","event_type":"t","filler":""}';
        return empty.replace('""', `"${"x".repeat(bytes - empty.length)}"`);
      };
      const lines = [999_000, 1_000_001, 1_048_000, MAX_VALUE_BYTES].map(sized);
      await using program = start(
        on(kafka, topic, { PRODUCER_INPUT: await file("large.jsonl", lines.join("\n")) }),
      );
      expect(await program.exit()).toBe(0);
      expect(summaryOf(program)).toMatchObject({ sent: 4, acknowledged: 4, failed: 0, outstanding: 0 });
    },
    60_000,
  );

  onEmbedded("reads compressed input, and delivers what comes before the damage in it", async (kafka) => {
    const topic = await kafka.createTopic(1);
    const bytes = gzipSync(numbered(3000).join("\n"));
    await using whole = start(on(kafka, topic, { PRODUCER_INPUT: await file("lines.gz", bytes) }));
    expect(await whole.exit()).toBe(0);
    const path = await file("cut.gz", bytes.subarray(0, bytes.length / 2));
    await using cut = start(on(kafka, topic, { PRODUCER_INPUT: path }));
    expect(await cut.exit()).toBe(1);
    expect(cut.stderr).toMatch(
      /^PRODUCER_INPUT=\S+ cannot be read: its gzip data are damaged or cut off [^\n]*\n$/,
    );
    const sent = Number(summaryOf(cut)["sent"]);
    expect(sent).toBeGreaterThan(100);
    expect(summaryOf(cut)).toMatchObject({ acknowledged: sent, outstanding: 0 });
  });

  onEmbedded("refuses a JSON array, and exits with 1 when no line was an event", async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using array = start(on(kafka, topic, { PRODUCER_INPUT: await file("array.json", "[{}]") }));
    await using csv = start(on(kafka, topic, { PRODUCER_INPUT: await file("events.csv", "user_id\nu1\n") }));
    await using empty = start(on(kafka, topic, { PRODUCER_INPUT: await file("empty.jsonl", "") }));
    expect(await Promise.all([array.exit(), csv.exit(), empty.exit()])).toEqual([1, 1, 1]);
    expect(array.stderr).toContain("it is a JSON array");
    expect(summaryOf(array)["sent"]).toBe(0);
    expect(csv.output).toContain("no line of PRODUCER_INPUT is an event");
    expect(empty.output).toContain("PRODUCER_INPUT has no lines");
  });

  clusterTest(
    "holds a bounded part of its input while the broker is away",
    async () => {
      await using kafka = await KafkaCluster.start();
      await kafka.createTopic("t");
      const path = join(folder, "endless");
      await Bun.$`mkfifo ${path}`;
      await using program = start(on(kafka, "t", { PRODUCER_INPUT: path }));
      const pipe = await open(path, "w");
      await pipe.writeFile(`${numbered(1)[0]}\n`);
      await program.metrics(await program.port(), "one is acknowledged", (found) => {
        return (found.value("events_produced_total") ?? 0) > 0;
      });
      await kafka.kill(0, "SIGSTOP");
      const line = `{"user_id":"u","event_type":"t","filler":"${"x".repeat(500_000)}"}\n`;
      let written = 0;
      const feeding = (async () => {
        for (; program.running; written += line.length) await pipe.writeFile(line);
      })().catch(() => undefined);
      await eventually("the queue is full", () => written > 60 * 1024 * 1024);
      let before = -1;
      await eventually("no more is read", () => before === (before = written), { everyMs: 1000 });
      expect(written).toBeLessThan(80 * 1024 * 1024);
      expect(peakKiB(program.pid)).toBeLessThan(400 * 1024);
      program.signal("SIGKILL");
      await program.exit();
      await feeding;
      await pipe.close();
    },
    120_000,
  );

  onEmbedded("exits with 1 when it is stopped before the end", async (kafka) => {
    const topic = await kafka.createTopic(1);
    const env = {
      PRODUCER_INPUT: await file("stopped.jsonl", numbered(1000).join("\n")),
      PRODUCER_RATE: "50",
    };
    await using program = start(on(kafka, topic, env));
    await program.printed(/"producing"/);
    program.signal("SIGTERM");
    expect(await program.exit()).toBe(1);
    expect(program.output).toContain("before the end of PRODUCER_INPUT");
    expect(summaryOf(program)["outstanding"]).toBe(0);
  });
});

describe("the producer at fault", () => {
  test("exits with 2 for a wrong argument or configuration, and with 0 for --help", async () => {
    await using help = start({}, { args: ["--help"] });
    expect(await help.exit()).toBe(0);
    expect(help.stdout).toContain("PRODUCER_RATE");
    await using wrong = start({}, { args: ["--fast"] });
    expect(await wrong.exit()).toBe(2);
    expect(wrong.stderr).toContain("--fast");
    await using misconfigured = start({ PRODUCER_RATE: "fast", KAFKA_CONFIG_ACKS: "1" });
    expect(await misconfigured.exit()).toBe(2);
    expect(misconfigured.stderr.trim().split("\n")).toHaveLength(2);
  }, 30_000);

  test("reports a missing input and a taken port in one sentence each", async () => {
    const path = join(folder, "missing.jsonl");
    await using missing = start({ PRODUCER_INPUT: path });
    expect(await missing.exit()).toBe(1);
    expect(missing.stderr).toBe(`PRODUCER_INPUT=${path} cannot be read: there is no such file\n`);
    const taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
    await using blocked = start({ METRICS_PORT_PRODUCER: `${taken.port}` });
    expect(await blocked.exit()).toBe(1);
    expect(blocked.stderr).toBe(
      `port ${taken.port} on 127.0.0.1 is taken by another program: set METRICS_PORT_PRODUCER to a free port\n`,
    );
    await taken.stop();
  }, 30_000);

  onEmbedded("reports a topic that its user may not write to", async (kafka) => {
    const topic = await kafka.createTopic(1);
    kafka.faults.failRequests(RequestKey.produce, Array<number>(1000).fill(TOPIC_AUTHORIZATION_FAILED));
    await using program = start(on(kafka, topic, { PRODUCER_RATE: "10" }));
    expect(await program.exit(45_000)).toBe(1);
    expect(program.stderr).toBe(`topic ${topic} cannot be written: Broker: Topic authorization failed\n`);
  });

  onEmbedded("ends at once at a second signal while it waits for a broker that is away", async (kafka) => {
    const topic = await kafka.createTopic(1);
    await using program = start(on(kafka, topic, { PRODUCER_RATE: "500" }));
    const port = await program.port();
    await program.metrics(port, "one is acknowledged", (found) => {
      return (found.value("events_produced_total") ?? 0) > 0;
    });
    kafka.faults.setDown();
    await eventually("records wait", async () => (await outstandingRecords(port)) > 0);
    program.signal("SIGINT");
    await program.printed(/waiting for the last acknowledgements/);
    // Within 100 ms of the first signal, the second one would count as the same.
    await Bun.sleep(300);
    program.signal("SIGINT");
    expect(await program.exit(15_000)).toBe(1);
    expect(program.stderr).toContain("SIGINT again");
  });
});

/** Three programs that wait for their deadlines, side by side. */
clusterTest(
  "the producer gives up within 30 s: at a wrong address, without enough replicas, and at the end without a broker",
  async () => {
    await using kafka = await KafkaCluster.start({ brokers: 3 });
    const unwritable = "needs-three";
    await kafka.createTopic(unwritable, { properties: { "min.insync.replicas": "3" } });
    await kafka.kill(2, "SIGKILL");
    await using mock = await EmbeddedBroker.start({
      brokers: 1,
      topics: [{ name: "t", partitions: 1 }],
    });
    await using wrong = start({ KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:1" });
    await using short = start(on(kafka, unwritable, { PRODUCER_RATE: "10" }));
    await using left = start(on(mock, "t", { PRODUCER_RATE: "500" }));
    const port = await left.port();
    await left.metrics(port, "one is acknowledged", (found) => {
      return (found.value("events_produced_total") ?? 0) > 0;
    });
    new BrokerFaults(mock).setDown();
    await eventually("records wait", async () => (await outstandingRecords(port)) > 0);
    left.signal("SIGTERM");
    // Each deadline starts with a step of the program, which may take long to get there.
    const givesUp = async (program: Program, step: RegExp) => {
      await program.printed(step, 60_000);
      const startedAtMs = performance.now();
      expect(await program.exit(60_000)).toBe(1);
      return (performance.now() - startedAtMs) / 1000;
    };
    const seconds = await Promise.all([
      givesUp(wrong, /"connecting"/),
      givesUp(short, /"producing"/),
      givesUp(left, /waiting for the last acknowledgements/),
    ]);
    for (const tookSeconds of seconds) expect(tookSeconds).toBeLessThan(32);
    expect(wrong.stderr).toMatch(/^no Kafka broker answers at 127\.0\.0\.1:1 [^\n]*\n$/);
    expect(short.stderr).toMatch(
      /^topic \S+ cannot be written: no record was acknowledged within 20 s [^\n]*\n$/,
    );
    expect(short.stderr).toContain("min.insync.replicas");
    expect(Number(summaryOf(left)["outstanding"])).toBeGreaterThan(0);
    expect(left.output).toContain("not everything was delivered");
  },
  180_000,
);
