// Reads the log of a consumer under load as a machine would: few lines, each whole, none with a secret.
import { describe, expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { kafkaTest } from "../support/requirements.ts";

/** A log with a line for each batch, or for each dead letter, would have more lines than this. */
const BATCHES = 120;
const DEAD_LETTERS = 120;

type Line = Readonly<Record<string, unknown>>;

function linesOf({ program }: TestConsumer): Line[] {
  return program.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

describe("log", () => {
  kafkaTest(
    "has a line for what happens to a consumer under load, and none for each event or batch, or with a secret",
    async () => {
      const secrets = { kafka: "kafka-s3cret", webhook: "hook-s3cret" };
      await using pipeline = await TestPipeline.start({
        env: {
          KAFKA_CONFIG_SASL_PASSWORD: secrets.kafka,
          ALERT_WEBHOOK_URL: `http://127.0.0.1:1/${secrets.webhook}`,
          // An alert on a slow machine would add lines.
          ALERT_CONSUMER_LAG_THRESHOLD: "1000000",
          ALERT_PROCESSING_LATENCY_THRESHOLD: "600",
          CONSUMER_BATCH_SIZE: "100",
        },
      });
      const consumer = pipeline.consumer();
      await pipeline.settled();
      await pipeline.until(
        "many batches and dead letters are stored",
        async () => {
          await pipeline.publish(1000);
          const found = await consumer.scrape();
          return (
            (found.value("db_batch_size_count") ?? 0) > BATCHES &&
            (found.value("dead_letter_events_total") ?? 0) > DEAD_LETTERS
          );
        },
        150_000,
      );
      await pipeline.drained();
      await consumer.drain();

      const lines = linesOf(consumer);
      expect(lines.length).toBeLessThan(Math.min(BATCHES, DEAD_LETTERS) / 2);
      for (const line of lines) {
        expect(line).toMatchObject({
          level: expect.stringMatching(/^(info|warn|error)$/) as string,
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
          name: "consumer",
          msg: expect.stringMatching(/./) as string,
        });
      }
      const withPartitions = lines.filter((line) => "partition" in line || "partitions" in line);
      expect(withPartitions.length).toBeGreaterThan(2);
      for (const { topic, worker } of withPartitions) {
        expect({ topic, worker: typeof worker }).toEqual({ topic: pipeline.topic, worker: "number" });
      }
      // Each dead letter is accounted for, and one of them can be found.
      const letters = lines.filter(({ reason }) => reason === "not_json");
      expect(letters.reduce((sum, { count }) => sum + Number(count), 0)).toBe(pipeline.published.broken);
      const { partition, offset } = letters.at(-1)!;
      const [found] = await pipeline.database.sql`
        select count(*)::int as letters from dead_letter_events
        where partition = ${Number(partition)} and "offset" = ${Number(offset)}`;
      expect(found).toEqual({ letters: 1 });
      for (const secret of [pipeline.database.address.password, secrets.kafka, secrets.webhook]) {
        expect(secret.length).toBeGreaterThan(5);
        expect(consumer.program.output).not.toContain(secret);
      }
      expect(lines.at(-1)).toMatchObject({ msg: "stopped", consumed: pipeline.published.records });
    },
    300_000,
  );
});
