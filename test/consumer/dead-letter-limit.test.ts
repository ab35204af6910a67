// Tests that a partition with too many dead letters stops alone, loses nothing, and goes on with another limit.
import { expect, test } from "bun:test";
import { refuseContent, REFUSED_DATA } from "../support/refused-content.ts";
import { eventTextWith, eventWithId } from "../pipeline/record.ts";
import { eventually } from "../support/eventually.ts";
import { RawProducer } from "../support/raw-producer.ts";
import { endSessions, stateOf, WorkerBench } from "./worker-bench.ts";

const TIMEOUT_MS = 120_000;
const RECORDS = 3000;

/** Publishes records to two partitions; of those of partition 0 that come late, every second one is bad. */
async function publishTo(bench: WorkerBench, bad: (id: string) => string): Promise<string> {
  const topic = await bench.kafka.createTopic(2);
  await using producer = await RawProducer.open(bench.kafka.producerSettings(), topic);
  await producer.send(
    Array.from({ length: 2 * RECORDS }, (_, index) => {
      const partition = index % 2;
      const offset = index >> 1;
      const isBad = partition === 0 && offset >= 2000 && offset % 2 === 0;
      const id = `${partition} ${offset}`;
      return { partition, value: Buffer.from(isBad ? bad(id) : eventWithId(id)) };
    }),
  );
  return topic;
}

async function deadLetters({ database }: WorkerBench): Promise<number> {
  return (await database.sql`select 1 from dead_letter_events`).length;
}

for (const [name, bad] of [
  ["that are no JSON", () => "{"],
  ["that PostgreSQL refuses", (id: string) => eventTextWith(REFUSED_DATA, { event_id: id })],
] as const) {
  test(
    `a partition with too many records ${name} stops, while the other is stored`,
    async () => {
      await using bench = await WorkerBench.start();
      await refuseContent(bench.database);
      const topic = await publishTo(bench, bad);
      const { worker, ended } = await bench.worker([topic], { batchSize: 100, deadLetterLimit: 0.1 });
      await eventually("the other partition is stored", () => bench.isStored(topic, [1], RECORDS));
      await eventually("it is stopped", () => stateOf(worker, 0) === "over_limit");
      const [status] = worker.status().partitions.filter(({ partition }) => partition === 0);
      expect(status?.overLimitBecause).toMatch(
        /^\d+ of its last 1000 records are dead letters, \d+ of them \w+: /,
      );
      expect(await deadLetters(bench)).toBeLessThanOrEqual(300);
      const { next } = (await bench.offsets(topic)).get(0)!;
      expect(next).toBeGreaterThanOrEqual(1800);
      expect(next).toBeLessThan(RECORDS);

      // A resync reads the same records again, and stops at them again.
      await endSessions(bench.database);
      await eventually(
        "it has resynced",
        () => worker.status().pausedBecause === undefined && worker.status().hasDatabase,
      );
      await eventually("it is stopped again", () => stateOf(worker, 0) === "over_limit");
      expect(await deadLetters(bench)).toBeLessThanOrEqual(350);
      expect((await bench.offsets(topic)).get(0)!.next).toBeLessThan(RECORDS);
      worker.drain();
      await ended;

      await bench.worker([topic], { batchSize: 100, deadLetterLimit: 0.6 });
      await eventually("all is stored", () => bench.isStored(topic, [0, 1], RECORDS));
      expect(await deadLetters(bench)).toBe(500);
    },
    TIMEOUT_MS,
  );
}
