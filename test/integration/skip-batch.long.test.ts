// Tests the way past a batch of records that is damaged on the broker's disk: `bun run skip-batch`.
import { describe, expect } from "bun:test";
import { open } from "node:fs/promises";
import { KafkaCluster } from "../support/kafka.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { Program } from "../support/process.ts";
import { clusterTest } from "../support/requirements.ts";

const TIMEOUT_MS = 5 * 60_000;
const RECORDS = 200;
/** Of a batch, by the format of Kafka's log: the first offset, the length of what follows, and 49 bytes more. */
const BATCH = { lengthAt: 8, lengthEnd: 12, headerBytes: 61 } as const;

/** Writes over the compressed records of the last batch of a topic's only partition. */
async function damageLastBatch(kafka: KafkaCluster, topic: string): Promise<void> {
  const [path] = await Array.fromAsync(
    new Bun.Glob(`**/${topic}-0/00000000000000000000.log`).scan({
      cwd: `/proc/${kafka.pids[0]}/cwd`,
      absolute: true,
    }),
  );
  const file = await open(path!, "r+");
  try {
    const bytes = await file.readFile();
    let last = 0;
    for (let at = 0; at < bytes.length; at += BATCH.lengthEnd + bytes.readInt32BE(at + BATCH.lengthAt))
      last = at;
    await file.write(Buffer.alloc(40, 0xff), 0, 40, last + BATCH.headerBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

describe("a damaged batch", () => {
  clusterTest(
    "is skipped by a command, is counted as deleted, and the records around it are stored",
    async () => {
      await using kafka = await KafkaCluster.start();
      const topic = "damaged";
      await kafka.createTopic(topic);
      await using pipeline = await TestPipeline.start({
        kafka: { bootstrapServers: kafka.bootstrapServers, topic },
        // Each publish is one batch.
        producer: { "linger.ms": "500" },
      });
      const command = async (...options: string[]) => {
        await using program = Program.start("workers/skip-batch.ts", {
          args: [topic, "0", ...options],
          env: {
            ...pipeline.database.env,
            KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrapServers,
            KAFKA_CONSUMER_GROUP: topic,
          },
        });
        return { code: await program.exit(120_000), says: program.output };
      };
      const ledger = async () => {
        const [row] = await pipeline.database.sql`
          select next_offset::int as next, consumed::int as consumed, deleted::int as deleted from pipeline_offsets`;
        return { ...row };
      };
      await pipeline.publish(RECORDS);
      const consumer = pipeline.consumer();
      await pipeline.drained();
      await consumer.drain();
      expect(await command("--yes")).toMatchObject({
        code: 1,
        says: expect.stringContaining("is read to its end"),
      });

      await pipeline.publish(RECORDS);
      await damageLastBatch(kafka, topic);
      await pipeline.publish(RECORDS);
      await damageLastBatch(kafka, topic);
      await pipeline.publish(RECORDS);
      const running = pipeline.consumer();
      const reports = () => running.program.output.match(/a partition cannot be read/g)?.length ?? 0;
      await pipeline.until("the batch is reported", async () => reports() === 1);

      expect(await command()).toMatchObject({
        code: 0,
        says: expect.stringContaining("--yes would skip 200 offsets, 200 to 399, of damaged[0]"),
      });
      expect(await ledger()).toEqual({ next: 200, consumed: 200, deleted: 0 });
      expect(await command("--yes")).toMatchObject({
        code: 0,
        says: expect.stringContaining("skipped 200 offsets, 200 to 399, of damaged[0]"),
      });
      // The next batch is damaged as well, and is not skipped with the first.
      await pipeline.until("the consumer goes on to the next batch", async () => reports() === 2);
      expect(await ledger()).toEqual({ next: 400, consumed: 200, deleted: 200 });
      expect(await command("--yes")).toMatchObject({ code: 0 });
      await pipeline.until("all behind it is stored", async () => (await ledger())["next"] === 800);
      expect(await ledger()).toEqual({ next: 800, consumed: 400, deleted: 400 });
      await running.drain();
      const { exitCode, violated } = await pipeline.ledger();
      expect({ exitCode, violated }).toEqual({ exitCode: 0, violated: [] });
    },
    TIMEOUT_MS,
  );
});
