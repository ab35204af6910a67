// Sends every kind of bad record through a real topic: each becomes a dead letter with its bytes and its reason.
import { describe, expect } from "bun:test";
import { CUT_BYTES } from "../../shared/pipeline/record-block.ts";
import { encodeHeaders, type RecordHeader } from "../../shared/pipeline/record-headers.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { RawRecord } from "../support/raw-producer.ts";
import { refuseContent } from "../support/refused-content.ts";
import { kafkaTest } from "../support/requirements.ts";
import { sharedKafka } from "../support/shared-kafka.ts";
import { migrateDatabase } from "../store/pipeline-database.ts";
import { BAD_RECORDS, type BadRecord, EDGE_RECORDS, HEADERS, KEYS, stageOf } from "./bad-records.ts";

interface Sent extends RawRecord {
  readonly bad: BadRecord | undefined;
}

/** Each bad record twice: bad, good, good, bad. In batches of two or four it is the first and the last record. */
function stream(): Sent[] {
  let edge = 0;
  const good = (): Sent => {
    const value = EDGE_RECORDS[edge % EDGE_RECORDS.length]!(`good_${edge}`);
    edge++;
    return { value, bad: undefined };
  };
  const records = BAD_RECORDS.flatMap((kind) => [
    { value: kind.value, bad: kind },
    good(),
    good(),
    { value: kind.value, bad: kind },
  ]);
  return records.map((record, index) => ({
    ...record,
    key: KEYS[index % KEYS.length],
    headers: HEADERS[index % HEADERS.length],
  }));
}

function countBy(reasons: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const reason of reasons) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}

let shared: Promise<{ topic: string; bootstrapServers: string; sent: readonly Sent[] }> | undefined;

/** The stream on a topic, published once and read by every test into its own database. */
function published(): NonNullable<typeof shared> {
  shared ??= publish();
  return shared;
}

async function publish(): Promise<Awaited<NonNullable<typeof shared>>> {
  const kafka = await sharedKafka();
  const topic = await kafka.createTopic({ partitions: 1, properties: { "max.message.bytes": "4000000" } });
  await using pipeline = await TestPipeline.start({
    kafka: { topic, bootstrapServers: kafka.bootstrapServers },
    producer: { "message.max.bytes": "4000000" },
  });
  const sent = stream();
  await pipeline.send(sent);
  return { topic, bootstrapServers: kafka.bootstrapServers, sent };
}

/** What a dead letter holds of a record, short enough to be read in the message of a failure. */
function bytesOf(record: { key?: unknown; value?: unknown; headers?: unknown }) {
  const digest = (bytes: unknown): string | null => {
    if (bytes === undefined || bytes === null) return null;
    const buffer = Buffer.from(bytes as Uint8Array);
    return buffer.length <= 100
      ? buffer.toString("latin1")
      : `${buffer.length} bytes, ${Bun.hash(buffer).toString(36)}`;
  };
  const headers = Array.isArray(record.headers)
    ? encodeHeaders(record.headers as RecordHeader[])
    : record.headers;
  return { key: digest(record.key), value: digest(record.value), headers: digest(headers) };
}

const sha256 = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

describe("dead letter", () => {
  for (const batchSize of [1, 2, 4, 5000]) {
    kafkaTest(
      `keeps the bytes and the reason of every kind of bad record, in batches of up to ${batchSize}`,
      async () => {
        const { topic, bootstrapServers, sent } = await published();
        await using pipeline = await TestPipeline.start({
          kafka: { topic, bootstrapServers },
          env: {
            KAFKA_CONSUMER_GROUP: `${topic}-${batchSize}`,
            CONSUMER_WORKERS: "1",
            CONSUMER_BATCH_SIZE: String(batchSize),
          },
        });
        await migrateDatabase(pipeline.database);
        await refuseContent(pipeline.database);
        const { sql } = pipeline.database;
        const broken = sent.filter((record) => record.bad !== undefined);
        Object.assign(pipeline.published, {
          records: sent.length,
          events: sent.length - broken.length,
          broken: broken.length,
        });
        const consumer = pipeline.consumer();
        await pipeline.drained();

        const letters = await sql`
        select topic, partition, "offset"::int as "offset", key, value, headers, stage, reason,
          value_bytes::int as value_bytes, encode(value_sha256, 'hex') as value_sha256
        from dead_letter_events order by "offset"`;
        const expected = sent.flatMap(({ key, value, headers, bad: kind }, offset) => {
          if (kind === undefined) return [];
          const { name, reason } = kind;
          return [
            {
              name,
              topic,
              partition: 0,
              offset,
              ...bytesOf({
                key,
                value: reason === "too_large" ? value!.subarray(0, CUT_BYTES) : value,
                headers,
              }),
              stage: stageOf(reason),
              reason,
              value_bytes: reason === "too_large" ? value!.length : null,
              value_sha256: reason === "too_large" ? sha256(value!) : null,
            },
          ];
        });
        // Compared by digest: a difference in a megabyte makes no readable message.
        const found = letters.map((letter, index) => ({
          name: expected[index]?.name,
          ...letter,
          ...bytesOf(letter),
        }));
        expect(found).toEqual(expected as typeof found);

        const [stored] = await sql`
        select count(*)::int as events, count(*) filter (where event_id like 'good\\_%')::int as good from raw_events`;
        expect(stored).toEqual({ events: pipeline.published.events, good: pipeline.published.events });

        const metrics = await consumer.program.metrics(
          await consumer.port(),
          "all is counted",
          (scrape) => scrape.value("events_consumed_total", { topic }) === sent.length,
        );
        const byReason = countBy(broken.map((record) => record.bad!.reason));
        for (const [reason, count] of Object.entries(byReason)) {
          expect([reason, metrics.value("dead_letter_events_total", { reason })]).toEqual([reason, count]);
          expect([reason, metrics.value("events_failed_total", { error_type: reason, topic })]).toEqual([
            reason,
            count,
          ]);
        }
        expect(metrics.value("dead_letter_events_total")).toBe(broken.length);
        expect(metrics.value("events_failed_total")).toBe(broken.length);
        expect(metrics.value("events_processed_total")).toBe(pipeline.published.events);
        // Bad content is no reason to read anything again.
        expect(metrics.value("resyncs_total")).toBe(0);

        await consumer.drain();
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
      },
      180_000,
    );
  }

  kafkaTest(
    "is written for a poison record at the end of a batch, and the records after it are stored",
    async () => {
      await using pipeline = await TestPipeline.start({ partitions: 1, env: { CONSUMER_WORKERS: "1" } });
      await migrateDatabase(pipeline.database);
      await refuseContent(pipeline.database);
      const { sql } = pipeline.database;
      const consumer = pipeline.consumer();
      const { published: counts } = pipeline;
      for (const [index, poison] of [
        ...BAD_RECORDS.filter(({ reason }) => reason === "refused_by_database"),
        BAD_RECORDS[0]!,
      ].entries()) {
        await pipeline.send([{ value: EDGE_RECORDS[0]!(`before_${index}`) }, { value: poison.value }]);
        counts.records += 2;
        counts.events++;
        counts.broken++;
        await pipeline.drained();
        const [row] = await sql`select max("offset")::int as "offset" from dead_letter_events`;
        expect(row).toEqual({ offset: counts.records - 1 });
      }
      await pipeline.send([{ value: EDGE_RECORDS[0]!("after") }]);
      counts.records++;
      counts.events++;
      await pipeline.drained();
      await consumer.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: counts });
    },
    120_000,
  );
});
