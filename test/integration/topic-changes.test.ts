// Deletes, recreates and truncates topics under a consumer, and reads several topics and transactions; the ledger balances.
import { afterAll, describe, expect } from "bun:test";
import { KafkaCluster } from "../support/kafka.ts";
import { type Published, recordAt } from "../support/known-records.ts";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { startPostgres } from "../support/postgres.ts";
import { clusterTest } from "../support/requirements.ts";
import { TransactionalProducer } from "../kafka/transactional-producer.ts";
import { KafkaUnderTest } from "../kafka/kafka-variants.ts";

let started: Promise<KafkaCluster> | undefined;

/** One broker for the whole file: its topics may be cut off and deleted. */
function cluster(): Promise<KafkaCluster> {
  started ??= KafkaCluster.start();
  return started;
}

afterAll(async () => (await started)?.stop());

async function pipelineOn(
  partitions: number,
  options: Parameters<typeof TestPipeline.start>[0] = {},
): Promise<TestPipeline> {
  const kafka = await cluster();
  const topic = `test-${crypto.randomUUID()}`;
  await kafka.createTopic(topic, { partitions });
  return TestPipeline.start({ ...options, kafka: { bootstrapServers: kafka.bootstrapServers, topic } });
}

async function recreate(kafka: KafkaCluster, topic: string, partitions: number): Promise<void> {
  await new KafkaUnderTest(kafka.bootstrapServers).recreateTopic(topic, partitions);
}

/** The sums of records of the test's stream, counted by their ids alone. */
function fold(indices: Iterable<number>): Published {
  const ids = new Set<unknown>();
  const sums: Published = { records: 0, events: 0, repeats: 0, broken: 0 };
  for (const index of indices) {
    sums.records++;
    const id = /"event_id":"([^"]+)",/.exec(recordAt(index).value)?.[1];
    if (id === undefined) sums.broken++;
    else if (ids.has(id)) sums.repeats++;
    else sums.events++;
    ids.add(id);
  }
  return sums;
}

function* range(from: number, to: number): Generator<number> {
  for (let index = from; index < to; index++) yield index;
}

function recordsAt(from: number, to: number, partition: number) {
  return [...range(from, to)].map((index) => ({ value: Buffer.from(recordAt(index).value), partition }));
}

async function readiness(consumer: TestConsumer): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${await consumer.port()}/readyz`);
  return answer.ok ? "ready" : await answer.text();
}

interface Row {
  topic: string;
  topic_id: string;
  partition: number;
  reading: number;
  first_offset: number;
  next_offset: number;
  consumed: number;
  deleted: number;
  gaps: number;
}

async function offsets({ database }: TestPipeline): Promise<Row[]> {
  const rows = await database.sql<Row[]>`
    select topic, topic_id, partition, reading, first_offset::int, next_offset::int, consumed::int, deleted::int, gaps::int
    from pipeline_offsets order by topic, partition, reading`;
  return rows.map((row) => ({ ...row }));
}

describe("topic", () => {
  clusterTest(
    "a topic that is recreated while the consumer is stopped is read from its beginning, and the old rows are kept",
    async () => {
      const kafka = await cluster();
      await using pipeline = await pipelineOn(2);
      await pipeline.publish(1000);
      const first = pipeline.consumer();
      await pipeline.drained();
      await first.drain();
      const before = await offsets(pipeline);

      await recreate(kafka, pipeline.topic, 2);
      await pipeline.renewProducer();
      await pipeline.publish(300);
      const second = pipeline.consumer();
      await pipeline.drained();
      const after = await offsets(pipeline);
      const ids = new Set(after.map(({ topic_id }) => topic_id));
      expect(ids.size).toBe(2);
      expect(after.filter(({ topic_id }) => topic_id === before[0]!.topic_id)).toEqual(before);
      const recreated = after.filter(({ topic_id }) => topic_id !== before[0]!.topic_id);
      expect(recreated).toHaveLength(2);
      expect(recreated.map(({ first_offset, deleted, gaps }) => ({ first_offset, deleted, gaps }))).toEqual(
        recreated.map(() => ({ first_offset: 0, deleted: 0, gaps: 0 })),
      );
      expect(recreated.reduce((sum, { next_offset }) => sum + next_offset, 0)).toBe(300);
      await second.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    150_000,
  );

  for (const [records, how] of [
    [100, "with fewer records than the old one had"],
    [20_000, "with more records at once"],
  ] as const) {
    clusterTest(
      `a topic that is recreated under a running consumer, ${how}, is read from its beginning`,
      async () => {
        const kafka = await cluster();
        await using pipeline = await pipelineOn(2);
        await pipeline.publish(1000);
        const consumer = pipeline.consumer();
        await pipeline.drained();
        const before = await offsets(pipeline);

        await recreate(kafka, pipeline.topic, 2);
        await pipeline.renewProducer();
        await pipeline.publish(records);
        await pipeline.drained();
        const after = await offsets(pipeline);
        expect(after.filter(({ topic_id }) => topic_id === before[0]!.topic_id)).toEqual(before);
        const recreated = after.filter(({ topic_id }) => topic_id !== before[0]!.topic_id);
        expect(recreated.map(({ first_offset }) => first_offset)).toEqual([0, 0]);
        expect(recreated.reduce((sum, { next_offset }) => sum + next_offset, 0)).toBe(records);
        await pipeline.until("it is ready", async () => (await readiness(consumer)) === "ready");
        // librdkafka would not follow a new topic whose leader epochs are lower than those of the old one.
        await consumer.program.printed(/"level":"warn"[^\n]*was created again: opening another Kafka client/);
        await consumer.drain();
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
      },
      180_000,
    );
  }

  clusterTest(
    "records that Kafka deleted before they were read are skipped, counted and logged",
    async () => {
      await using server = await startPostgres();
      // One partition, so that the record at an index stands at that offset.
      const kafka = await cluster();
      await using pipeline = await pipelineOn(1, {
        database: await server.database(),
        env: { CONSUMER_WORKERS: "1" },
      });
      await pipeline.publish(1000);
      const first = pipeline.consumer();
      await pipeline.drained();
      await first.drain();
      await pipeline.publish(500);
      await kafka.deleteRecords(pipeline.topic, 0, 1200);

      const second = pipeline.consumer();
      const gone = (count: number) => async () =>
        (await pipeline.consumed()) === pipeline.published.records - count;
      await pipeline.until("the rest is stored", gone(200));
      const scrape = await second.program.metrics(
        await second.port(),
        "the records behind the gap are counted",
        (found) => found.value("events_consumed_total") === 300,
      );
      expect(scrape.value("deleted_offsets_total", { topic: pipeline.topic })).toBe(200);
      expect(second.program.stdout).toMatch(
        /"level":"error"[^\n]*"from":1000,"to":1200[^\n]*200 records were deleted by Kafka/,
      );
      expect(await offsets(pipeline)).toMatchObject([
        { first_offset: 0, next_offset: 1500, consumed: 1300, deleted: 200, gaps: 0 },
      ]);

      // The same under a running consumer that cannot read because its database is away, up to the very end of the log.
      await server.stop("fast");
      await pipeline.until("it reads nothing", async () =>
        (await readiness(second)).includes("awaiting_offset"),
      );
      await pipeline.publish(100);
      await kafka.deleteRecords(pipeline.topic, 0, 1600);
      await server.start();
      await second.program.metrics(
        await second.port(),
        "the second gap is counted",
        (found) => found.value("deleted_offsets_total", { topic: pipeline.topic }) === 300,
      );
      await pipeline.publish(50);
      await pipeline.until("it goes on", gone(300));
      await pipeline.until("it is ready", async () => (await readiness(second)) === "ready");
      await second.drain();
      const accounted = fold([...range(0, 1000), ...range(1200, 1500), ...range(1600, 1650)]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted });
    },
    180_000,
  );

  for (const [epoch, how, from] of [
    ["known", "from the cut", 100],
    ["not known", "from its beginning", 0],
  ] as const) {
    clusterTest(
      `a log that is shorter than what is stored is read again ${how} where the leader epoch is ${epoch}, and the others go on`,
      async () => {
        await using pipeline = await pipelineOn(2, { env: { CONSUMER_WORKERS: "1" } });
        const { sql } = pipeline.database;
        await pipeline.send([...recordsAt(0, 100, 0), ...recordsAt(100, 200, 1)]);
        const first = pipeline.consumer();
        await pipeline.until("all is stored", async () => (await pipeline.consumed()) === 200);
        await first.drain();
        // As after a broker that lost its last records: the database is ahead of the log.
        await sql`update pipeline_offsets set next_offset = next_offset + 50, deleted = deleted + 50 where partition = 0`;
        if (epoch === "not known") await sql`update pipeline_offsets set leader_epoch = null`;

        const second = pipeline.consumer();
        await second.program.printed(
          new RegExp(
            `"level":"error"[^\\n]*"partition":0,"stored":150,"at":${from}[^\\n]*the log was cut below offset 150`,
          ),
        );
        await pipeline.send([...recordsAt(200, 300, 1), ...recordsAt(300, 360, 0)]);
        const consumed = 360 + (100 - from);
        await pipeline.until("all is read", async () => (await pipeline.consumed()) === consumed);
        await pipeline.until("it is ready", async () => (await readiness(second)) === "ready");
        await second.program.metrics(
          await second.port(),
          "the cut is counted",
          (found) => found.value("log_truncations_total", { topic: pipeline.topic }) === 1,
        );
        expect(await offsets(pipeline)).toMatchObject([
          { partition: 0, reading: 0, first_offset: 0, next_offset: 150, consumed: 100, deleted: 50 },
          {
            partition: 0,
            reading: 1,
            first_offset: from,
            next_offset: 160,
            consumed: 160 - from,
            deleted: 0,
          },
          { partition: 1, reading: 0, first_offset: 0, next_offset: 200, consumed: 200, deleted: 0 },
        ]);
        await second.drain();
        const accounted = fold([...range(0, 360), ...range(from, 100)]);
        expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted });
      },
      150_000,
    );
  }

  clusterTest(
    "several topics are read by one consumer, and an id that is in two of them counts once",
    async () => {
      await using pipeline = await pipelineOn(3);
      await using other = await pipelineOn(2);
      await pipeline.publish(1000);
      // The same records again, and 500 more.
      await other.publish(1500);
      const consumer = pipeline.consumer({ KAFKA_TOPIC: `${pipeline.topic}, ${other.topic}` });
      await pipeline.until("all is stored", async () => (await pipeline.consumed()) === 2500);
      const rows = await offsets(pipeline);
      const consumed = Object.fromEntries(
        [pipeline.topic, other.topic].map((topic) => [
          topic,
          rows.filter((row) => row.topic === topic).map((row) => row.partition),
        ]),
      );
      expect(consumed).toEqual({ [pipeline.topic]: [0, 1, 2], [other.topic]: [0, 1] });
      const scrape = await consumer.program.metrics(
        await consumer.port(),
        "all is counted",
        (found) => found.value("events_consumed_total") === 2500,
      );
      expect(scrape.value("events_consumed_total", { topic: pipeline.topic })).toBe(1000);
      expect(scrape.value("events_consumed_total", { topic: other.topic })).toBe(1500);
      await consumer.drain();
      const accounted = fold([...range(0, 1000), ...range(0, 1500)]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted });
    },
    150_000,
  );

  clusterTest(
    "aborted transactions of other producers are skipped, and markers are no lag",
    async () => {
      const kafka = await cluster();
      await using pipeline = await pipelineOn(1, { env: { CONSUMER_WORKERS: "1" } });
      const values = (from: number, to: number) => [...range(from, to)].map((index) => recordAt(index).value);
      await using sender = await TransactionalProducer.open(
        new KafkaUnderTest(kafka.bootstrapServers),
        pipeline.topic,
      );
      await sender.transaction(values(0, 50), "commit");
      await sender.transaction(values(50, 80), "abort");
      await sender.transaction(values(80, 100), "commit");
      await sender.transaction(values(100, 110), "abort");
      const consumer = pipeline.consumer();
      await pipeline.until("what was committed is stored", async () => (await pipeline.consumed()) === 70);
      const noLag = await consumer.program.metrics(
        await consumer.port(),
        "no lag is left",
        (found) => found.find("kafka_consumer_lag").length === 1 && found.value("kafka_consumer_lag") === 0,
      );
      expect(noLag.value("events_consumed_total")).toBe(70);
      // A marker and thirty aborted records lie before the last that was read; what comes after is not passed yet.
      expect(await offsets(pipeline)).toMatchObject([
        { next_offset: 102, consumed: 70, deleted: 0, gaps: 32 },
      ]);
      await sender.transaction(values(110, 120), "commit");
      await pipeline.until("it goes on", async () => (await pipeline.consumed()) === 80);
      await consumer.drain();
      expect(await offsets(pipeline)).toMatchObject([
        { next_offset: 124, consumed: 80, deleted: 0, gaps: 44 },
      ]);
      const accounted = fold([...range(0, 50), ...range(80, 100), ...range(110, 120)]);
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted });
    },
    150_000,
  );
});
