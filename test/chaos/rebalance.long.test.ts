// Moves partitions between processes while records flow; every record counts once.
import { describe, expect } from "bun:test";
import { TestPipeline } from "../support/pipeline.ts";
import type { TestConsumer } from "../support/test-consumer.ts";
import { kafkaTest } from "../support/requirements.ts";

/** Publishing does not run further ahead of the consumers than this, on any machine. */
const MAX_BACKLOG = 10_000;

async function revocations(consumers: readonly TestConsumer[]): Promise<number> {
  const scrapes = await Promise.all(consumers.map((consumer) => consumer.scrape()));
  return scrapes.reduce((sum, found) => sum + (found.value("rebalances_total", { kind: "revoke" }) ?? 0), 0);
}

describe("rebalance", () => {
  kafkaTest(
    "a third consumer that joins and leaves takes partitions and gives them back",
    async () => {
      await using pipeline = await TestPipeline.start();
      const others = [pipeline.consumer(), pipeline.consumer()];
      await pipeline.settled();
      const before = await revocations(others);
      const stop = new AbortController();
      const publishing = (async () => {
        while (!stop.signal.aborted) {
          if (pipeline.published.records - (await pipeline.consumed()) < MAX_BACKLOG) {
            await pipeline.publish(1000);
          }
          await Bun.sleep(20);
        }
      })();

      const third = pipeline.consumer();
      await pipeline.until(
        "the third consumer stores records",
        async () => (await third.total("events_consumed_total")) > 0,
        60_000,
      );
      await third.drain();
      await pipeline.settled();
      stop.abort();
      await publishing;
      await pipeline.drained();

      expect(await revocations(others)).toBeGreaterThan(before);
      await Promise.all(others.map((consumer) => consumer.drain()));
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    240_000,
  );

  kafkaTest(
    "the partitions of a killed member of the new group protocol go to the other",
    async () => {
      await using pipeline = await TestPipeline.start({ env: { KAFKA_CONFIG_GROUP_PROTOCOL: "consumer" } });
      const killed = pipeline.consumer();
      const left = pipeline.consumer();
      await pipeline.settled();
      await pipeline.publish(20_000);
      await pipeline.until("both store records", async () => {
        const stored = await Promise.all([killed, left].map((each) => each.total("events_consumed_total")));
        return stored.every((records) => records > 0);
      });
      await pipeline.publish(20_000);
      killed.program.signal("SIGKILL");
      await killed.program.exit();
      await pipeline.publish(2000);
      // The test's broker misses the member after 5 s.
      await pipeline.drained();
      await pipeline.settled();
      await left.drain();
      expect(await pipeline.ledger()).toEqual({ exitCode: 0, violated: [], accounted: pipeline.published });
    },
    180_000,
  );
});
