// Tests a consumer whose librdkafka lacks the codec of a partition's records.
import { describe, expect } from "bun:test";
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Alerts, Workers } from "../../shared/api-schema.ts";
import { nativeSources } from "../../shared/kafka/native-library.ts";
import { prepareLibrary } from "../../shared/kafka/native-library-cache.ts";
import { buildLibrary } from "../../shared/kafka/native-library-build.ts";
import { cacheDirectory } from "../../shared/runtime/cache.ts";
import { libraryPath } from "../kafka/kafka-variants.ts";
import { Library } from "../../shared/kafka/ffi/library.ts";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { clusterTest } from "../support/requirements.ts";

/** The library is built once, which takes half a minute on two idle cores. */
const TIMEOUT_MS = 6 * 60_000;
const REASON = "its records are compressed with gzip, which this librdkafka lacks";

describe("a partition with a codec that librdkafka lacks", () => {
  clusterTest(
    "is reported and waits, while the others are read",
    async () => {
      const XDG_CACHE_HOME = await cacheWithoutCodecs();
      await using kafka = await KafkaCluster.start();
      await kafka.createTopic("plain", { partitions: 2 });
      await kafka.createTopic("packed", { partitions: 1, properties: { "compression.type": "gzip" } });
      const { bootstrapServers } = kafka;
      await using pipeline = await TestPipeline.start({ kafka: { bootstrapServers, topic: "plain" } });
      await using packed = await TestPipeline.start({ kafka: { bootstrapServers, topic: "packed" } });
      const env = { KAFKA_TOPIC: "plain, packed", CONSUMER_WORKERS: "1" };
      const unreadable = (consumer: TestConsumer) =>
        pipeline.until("one partition is reported", async () => {
          const found = await consumer.scrape();
          const ready = await (await get(consumer, "/readyz")).text();
          return (
            ready.includes(`packed[0]: ${REASON}`) &&
            !ready.includes("plain") &&
            found.value("consumer_unreadable_partitions") === 1
          );
        });

      await pipeline.publish(100);
      await packed.publish(100);
      const lacking = pipeline.consumer({ ...env, XDG_CACHE_HOME, AUTO_SETUP: "false" });
      await unreadable(lacking);
      const workers = (await (await get(lacking, "/api/workers")).json()) as Workers;
      const states = workers
        .flatMap(({ partitions }) => partitions)
        .map(({ topic, state }) => `${topic} ${state}`);
      expect(states).toEqual(["packed unreadable", "plain fetching", "plain fetching"]);
      await pipeline.until("an alert is raised", async () => {
        const { own } = (await (await get(lacking, "/api/alerts")).json()) as Alerts;
        return own.some(({ type, summary }) => type === "pipeline_failure" && summary.includes(REASON));
      });
      await pipeline.publish(100);
      await pipeline.until("the others are read", async () => (await pipeline.consumed()) === 200);

      // Without the cause the partition is read again.
      await kafka.deleteRecords("packed", 0, 100);
      await pipeline.until("it is ready", async () => (await get(lacking, "/readyz")).ok);
      await pipeline.until(
        "none is reported",
        async () => (await lacking.scrape()).value("consumer_unreadable_partitions") === 0,
      );
      await packed.publish(50);
      await unreadable(lacking);
      // One line for each of the two batches, however often they were tried.
      expect(lacking.program.output.match(/a partition cannot be read/g)).toHaveLength(2);
      await lacking.drain();

      const complete = pipeline.consumer(env);
      await pipeline.until("all are read", async () => (await pipeline.consumed()) === 250);
      await pipeline.until("it is ready", async () => (await get(complete, "/readyz")).ok);
      await complete.drain();
    },
    TIMEOUT_MS,
  );
});

async function get(consumer: TestConsumer, path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${await consumer.port()}${path}`);
}

/** @returns a directory for XDG_CACHE_HOME, in which the only librdkafka has no gzip, no zstd and no TLS */
async function cacheWithoutCodecs(): Promise<string> {
  const home = join(cacheDirectory(), "without-codecs");
  await mkdir(home, { recursive: true });
  const before = process.env["XDG_CACHE_HOME"];
  process.env["XDG_CACHE_HOME"] = home;
  try {
    const { version } = new Library(libraryPath);
    const fileName = basename(libraryPath);
    const flags = ["--disable-zlib", "--disable-zstd", "--disable-ssl"];
    await prepareLibrary({
      version,
      features: [],
      fileName,
      installed: [],
      cacheName: basename(dirname(libraryPath)).replace(/-\w+$/, ""),
      isAllowed: true,
      offersTls: () => Promise.resolve(false),
      download: () => Promise.reject(new Error("not asked for")),
      build: (directory) =>
        buildLibrary({ sources: nativeSources(), directory, fileName, version, flags, say: () => {} }),
      say: () => {},
    });
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
  }
  return home;
}
