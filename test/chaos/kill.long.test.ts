// Kills consumers in the middle of a transaction and during a COMMIT; every record still counts once.
import { describe, expect } from "bun:test";
import { CommitGate } from "../support/commit-gate.ts";
import { TestPipeline } from "../support/pipeline.ts";
import { kafkaTest } from "../support/requirements.ts";
import { mutatedCopy } from "../support/mutated-copy.ts";

const KILLS = 10;

/** The group waits for a killed member until its session is over. */
const SHORT_SESSION = {
  KAFKA_CONFIG_SESSION_TIMEOUT_MS: "2000",
  KAFKA_CONFIG_HEARTBEAT_INTERVAL_MS: "500",
};

/** Waits until the backends of the killed process have ended, and with them their transactions. */
async function untilQuiet(pipeline: TestPipeline): Promise<void> {
  await pipeline.until("no transaction is left", async () => {
    const [row] = await pipeline.database.sql`
      select count(*)::int as n from pg_stat_activity
      where datname = current_database() and application_name like 'event-pipeline %'`;
    return row?.["n"] === 0;
  });
}

/**
 * Kills a consumer while its COMMIT is under way. The COMMIT happens when the next consumer waits for it.
 * @returns the invariants that do not hold afterwards
 */
async function killDuringCommit(root?: string): Promise<readonly string[]> {
  await using pipeline = await TestPipeline.start({
    env: { ...SHORT_SESSION, CONSUMER_WORKERS: "1" },
    partitions: 1,
    ...(root === undefined ? {} : { root }),
  });
  const { sql } = pipeline.database;
  await using gate = await CommitGate.install(pipeline, "commit");
  // No broken record among them: the key of the dead letters would refuse a second time.
  await pipeline.publish(90);
  await gate.close();
  await using victim = pipeline.consumer();
  const backend = await gate.reached();
  victim.program.signal("SIGKILL");
  await victim.program.exit();
  expect(await pipeline.consumed()).toBe(0);
  await using next = pipeline.consumer();
  // With the fence it asks again for the row that the transaction has locked; without, it is blocked by its inserts.
  await pipeline.until("the next consumer waits for that transaction", async () => {
    const [row] = await sql`
      select count(*)::int as n from pg_stat_activity
      where application_name like 'event-pipeline worker %' and pid <> ${backend} and datname = current_database()
        and (query like '%skip locked%' or ${backend} = any(pg_blocking_pids(pid)))`;
    return row?.["n"] === 1;
  });
  await gate.open();
  await pipeline.drained();
  await pipeline.publish(300);
  await pipeline.drained();
  await next.drain();
  const { violated, accounted } = await pipeline.ledger();
  if (violated.length === 0) expect(accounted).toEqual(pipeline.published);
  return violated;
}

describe("SIGKILL", () => {
  kafkaTest(
    "ten consumers killed one after the other in the middle of a transaction lose and double nothing",
    async () => {
      await using pipeline = await TestPipeline.start({
        env: { ...SHORT_SESSION, CONSUMER_BATCH_SIZE: "200" },
      });
      await using gate = await CommitGate.install(pipeline, "last statement");
      await pipeline.publish(10_000);
      for (let kill = 1; kill <= KILLS; kill++) {
        const before = await pipeline.consumed();
        const consumer = pipeline.consumer();
        await pipeline.until(`life ${kill} stores something`, async () => {
          return (await pipeline.consumed()) > before;
        });
        await gate.close();
        // However fast it was, this is left for a transaction that the gate holds.
        await pipeline.publish(2000);
        await gate.reached();
        const stored = await pipeline.consumed();
        consumer.program.signal("SIGKILL");
        await consumer.program.exit();
        await gate.open();
        await untilQuiet(pipeline);
        // The transaction in its hands was rolled back.
        expect(await pipeline.consumed()).toBe(stored);
        expect(stored).toBeLessThan(pipeline.published.records);
      }
      const last = pipeline.consumer({ CONSUMER_BATCH_SIZE: "5000" });
      await pipeline.drained();
      await last.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    300_000,
  );

  kafkaTest(
    "a COMMIT that happens after its consumer was killed, while the next one waits, counts once",
    async () => {
      expect(await killDuringCommit()).toEqual([]);
    },
    150_000,
  );

  kafkaTest(
    "the check finds the damage when the same happens without the fence",
    async () => {
      await using unfenced = await mutatedCopy("fence off");
      expect(await killDuringCommit(unfenced.root)).not.toEqual([]);
    },
    150_000,
  );
});
