// A consumer under load, with secrets, in; a log for machines out: few lines, each whole, none with a secret.
import { expect } from "bun:test";
import { type TestConsumer, TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";

const LOAD_MS = 6000;

type Line = Readonly<Record<string, unknown>>;

function linesOf({ program }: TestConsumer): Line[] {
  return program.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

kafkaTest(
  "under load a consumer logs what happens to it, and not each event or batch; no line holds a secret",
  async () => {
    const secrets = { kafka: "kafka-s3cret", webhook: "hook-s3cret" };
    await using pipeline = await TestPipeline.start({
      env: {
        KAFKA_CONFIG_SASL_PASSWORD: secrets.kafka,
        ALERT_WEBHOOK_URL: `http://127.0.0.1:9/${secrets.webhook}`,
      },
    });
    const consumer = pipeline.consumer();
    await pipeline.settled();
    const end = performance.now() + LOAD_MS;
    while (performance.now() < end) await pipeline.publish(200);
    await pipeline.drained();
    const batches = await consumer.total("db_batch_size_count");
    const deadLetters = await consumer.total("dead_letter_events_total");
    await consumer.drain();

    const lines = linesOf(consumer);
    // Many batches and dead letters, few lines: starting, two threads that share six partitions, one thing that
    // repeats in each of them, and the end.
    expect({ batches: batches > 60, deadLetters: deadLetters > 60 }).toEqual({
      batches: true,
      deadLetters: true,
    });
    expect(lines.length).toBeLessThanOrEqual(30);
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
    expect(letters.reduce((sum, { count }) => sum + Number(count), 0)).toBe(deadLetters);
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
  60_000,
);
