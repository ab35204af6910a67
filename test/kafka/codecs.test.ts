// Tests that the librdkafka of this machine reads each codec, as a client of another make writes it.
import { expect } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kafkaArtifacts } from "../support/kafka-artifacts.ts";
import { runJava } from "../support/kafka-broker.ts";
import { GroupMember } from "./group-member.ts";
import { type KafkaUnderTest, onKafka } from "./kafka-variants.ts";

const PRODUCER = "org.apache.kafka.tools.ProducerPerformance";
const RECORDS = 500;
/** It takes a second to start a JVM, and many on a busy machine. */
const TIMEOUT_MS = 2 * 60_000;

for (const codec of ["gzip", "snappy", "lz4", "zstd"]) {
  onKafka(
    `records that the Java client compressed with ${codec} are read`,
    async (kafka) => {
      const topic = await kafka.createTopic(1);
      const value = `written with ${codec}, `.repeat(20);
      await writeWithJava(kafka, topic, codec, value);
      await using member = await GroupMember.open(kafka, { topics: [topic] });
      await member.until("all records", () => member.records.length >= RECORDS || hasError(member), {
        timeoutMs: TIMEOUT_MS / 2,
      });
      expect(member.of("error")).toEqual([]);
      expect(member.values()).toEqual(Array.from({ length: RECORDS }, () => value));
    },
    TIMEOUT_MS,
  );
}

function hasError(member: GroupMember): boolean {
  return member.of("error").length > 0;
}

/** @throws Error unless the client did compress */
async function writeWithJava(
  { bootstrapServers }: KafkaUnderTest,
  topic: string,
  codec: string,
  value: string,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "event-pipeline-payload-"));
  try {
    const file = join(directory, "payload");
    await Bun.write(file, value);
    const load = `--topic ${topic} --num-records ${RECORDS} --throughput -1 --payload-file ${file} --print-metrics`;
    const properties = `compression.type=${codec} linger.ms=100 batch.size=100000`;
    const output = await runJava(
      await kafkaArtifacts(() => {}),
      PRODUCER,
      `${load} --bootstrap-server ${bootstrapServers} --command-property ${properties}`.split(" "),
    );
    expect(Number(/compression-rate-avg\S*\s*:\s*([\d.]+)/.exec(output)?.[1])).toBeLessThan(0.5);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
