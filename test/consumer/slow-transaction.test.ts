// Tests that a worker makes its batches smaller where a transaction does not end in time.
import { expect, test } from "bun:test";
import { DeadlineExceeded } from "../../shared/store/sqlstate.ts";
import { eventually } from "../support/eventually.ts";
import { publish, WorkerBench } from "./worker-bench.ts";

test("records that cannot be committed in time together are committed in smaller batches", async () => {
  await using bench = await WorkerBench.start();
  const topic = await bench.kafka.createTopic(1);
  await publish(bench.kafka, topic, 0, 1000);
  const tried: number[] = [];
  await bench.worker([topic], {
    batchSize: 400,
    session: (real) => ({
      commit: async (batch, proof) => {
        tried.push(batch.records);
        if (batch.records <= 60) return await real.commit(batch, proof);
        throw new DeadlineExceeded("PostgreSQL has not answered within 30 s");
      },
    }),
  });
  await eventually("all are stored", () => bench.isStored(topic, [0], 1000), { timeoutMs: 60_000 });
  expect(Math.max(...tried)).toBeGreaterThan(60);
  expect(tried.filter((records) => records > 60).length).toBeLessThan(8);
}, 120_000);
