// Tests that a consumer with two workers stays within the memory that the README names, whatever it is sent.
import { afterAll, beforeAll, describe, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { startPostgres } from "../support/postgres.ts";
import type { RawRecord } from "../support/raw-producer.ts";
import { clusterTest } from "../support/requirements.ts";
import { whyNoKafka } from "../support/kafka-artifacts.ts";
import { eventText, eventTextWith } from "../pipeline/record.ts";

const MIB = 1024 * 1024;
const TIMEOUT_MS = 10 * 60_000;
/** What the README says of two workers. */
const MAX_RSS_MIB = 1024;

/** 50,000 records each. */
const OUTAGE_ROUNDS = Number(process.env["OUTAGE_ROUNDS"] ?? 6);

let kafka: KafkaCluster;

beforeAll(async () => {
  if (whyNoKafka() === undefined) kafka = await KafkaCluster.start({ jvmFlags: ["-Xmx1500m"] });
}, 120_000);

afterAll(async () => {
  await kafka?.stop();
});

interface Input {
  /** Published in turn to six partitions, with a key that fits the partition. */
  readonly records: () => Iterable<RawRecord>;
  readonly count: number;
  readonly deadLetters: number;
  readonly producer?: Readonly<Record<string, string>>;
  /** The topic's max.message.bytes; by default Kafka's. */
  readonly maxMessageBytes?: number;
}

const event = (index: number): Buffer =>
  Buffer.from(eventText({ event_id: `e${index}`, user_id: `u${index % 500}` }));

function* times(count: number, record: (index: number) => RawRecord): Generator<RawRecord> {
  for (let i = 0; i < count; i++) yield { partition: i % 6, ...record(i) };
}

/** JSON.parse takes 800 times the size of such an object. */
function arrayIndexKeys(index: number): RawRecord {
  const item = '{"999":1}';
  const items = Array.from({ length: Math.floor(MIB / (item.length + 1)) - 100 }, () => item);
  // An escape keeps the record out of every shortcut.
  const text = eventTextWith(`{"a":[${items.join()}]}`, { event_id: `aA${index}` }).replace("aA", "a\\u0041");
  return { value: Buffer.from(text) };
}

const large = (megabytes: number) => ({
  records: () =>
    times(6, (index) => ({ value: index === 3 ? randomBytes(megabytes * 1_000_000) : event(index) })),
  count: 6,
  deadLetters: 1,
  producer: { "message.max.bytes": "120000000", "compression.type": "none", "message.timeout.ms": "120000" },
  maxMessageBytes: 110_000_000,
});

/** Bytes that no codec makes smaller. */
function randomBytes(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; at += 65_536)
    crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  return bytes;
}

const INPUTS: Readonly<Record<string, Input>> = {
  "ordinary events": {
    records: () => times(300_000, (index) => ({ value: event(index) })),
    count: 300_000,
    deadLetters: 0,
  },
  "12 records of 1 MiB full of keys that are array indexes": {
    records: () => times(12, arrayIndexKeys),
    count: 12,
    deadLetters: 0,
    producer: { "message.max.bytes": "2000000", "compression.type": "gzip" },
  },
  "1,200 records with a header of 900 kB": {
    records: () =>
      times(1200, (index) => ({
        value: event(index),
        headers: [{ name: "h", value: new Uint8Array(900_000) }],
      })),
    count: 1200,
    deadLetters: 0,
  },
  "a value of 240 MB in one lz4 batch": {
    records: () => times(6, (index) => ({ value: index === 3 ? new Uint8Array(240_000_000) : event(index) })),
    count: 6,
    deadLetters: 1,
    producer: { "message.max.bytes": "300000000" },
  },
  "a record of 60 MB": large(60),
  "a record of 95 MB": large(95),
  "500,000 users of 100 characters beyond ASCII": {
    records: () =>
      times(500_000, (index) => ({
        value: Buffer.from(eventText({ event_id: `e${index}`, user_id: String(index).padEnd(100, "日") })),
      })),
    count: 500_000,
    deadLetters: 0,
  },
};

describe("the memory of a consumer with two workers is bounded for", () => {
  for (const [name, { records, count, deadLetters, producer = {}, maxMessageBytes }] of Object.entries(
    INPUTS,
  )) {
    clusterTest(
      name,
      async () => {
        const topic = `memory-${crypto.randomUUID()}`;
        const properties =
          maxMessageBytes === undefined ? {} : { "max.message.bytes": String(maxMessageBytes) };
        await kafka.createTopic(topic, { partitions: 6, properties });
        const { bootstrapServers } = kafka;
        await using pipeline = await TestPipeline.start({ kafka: { bootstrapServers, topic }, producer });
        await pipeline.send([...records()]);
        const consumer = pipeline.consumer({ CONSUMER_BATCH_SIZE: "10000" });
        await pipeline.until(
          "all is stored",
          async () => (await pipeline.consumed()) >= count,
          TIMEOUT_MS / 2,
        );
        const peak = peakRssMib(consumer.program.pid);
        process.stdout.write(`${name}: ${peak} MiB\n`);
        const [stored] = await pipeline.database.sql`
          select sum(stored)::int as stored, sum(dead_lettered)::int as "deadLetters" from pipeline_offsets`;
        expect({ ...stored }).toEqual({ stored: count - deadLetters, deadLetters });
        expect(peak).toBeLessThan(MAX_RSS_MIB);
        await consumer.drain();
        const { exitCode, violated } = await pipeline.ledger();
        expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
      },
      TIMEOUT_MS,
    );
  }
});

clusterTest(
  "the memory of a consumer with two workers is bounded while PostgreSQL is away",
  async () => {
    await using server = await startPostgres();
    const topic = `memory-${crypto.randomUUID()}`;
    await kafka.createTopic(topic, { partitions: 6 });
    await using pipeline = await TestPipeline.start({
      kafka: { bootstrapServers: kafka.bootstrapServers, topic },
      database: await server.database(),
    });
    await pipeline.publish(20_000);
    const consumer = pipeline.consumer({ CONSUMER_BATCH_SIZE: "10000" });
    await pipeline.drained();
    await server.stop("immediate");
    const resyncs = async () => await consumer.total("resyncs_total");
    const before = await resyncs();
    // Records keep coming, as fast as they can be published, for as long as it takes to fill any queue.
    for (let round = 0; round < OUTAGE_ROUNDS; round++) await pipeline.publish(50_000);
    await pipeline.until("the outage is noticed", async () => (await resyncs()) > before);
    const peak = peakRssMib(consumer.program.pid);
    process.stdout.write(`away: ${peak} MiB\n`);
    expect(peak).toBeLessThan(MAX_RSS_MIB);
    await server.start();
    await pipeline.drained();
    expect(peakRssMib(consumer.program.pid)).toBeLessThan(MAX_RSS_MIB);
    await consumer.drain();
    const { exitCode, violated } = await pipeline.ledger();
    expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
  },
  TIMEOUT_MS,
);

/** The most memory that a process has had at once, MiB. */
function peakRssMib(pid: number): number {
  const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kilobytes) / 1024);
}
